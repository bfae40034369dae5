"""What a student reads: which properties hold, and what kind of thing went wrong; never an input or expected value."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from tlib import store
from tlib.course.comparison import WHY
from tlib.course.exercises import title
from tlib.course.grading import Assignment

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ task.chapter }}: {{ row.points }} of {{ row.of }} points</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }
:root { color-scheme: light dark }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid; vertical-align: top }
td:nth-child(2) { white-space: nowrap }
</style>
</head>
<body>
<h1>{{ task.chapter }}</h1>
<p><strong>{{ row.points }} of {{ row.of }} points</strong> for {{ row.student }}, {{ row.file }}.
{% if row.late %}Handed in late.{% endif %} {% if row.note %}Note: {{ row.note }}.{% endif %}</p>
{% if row.errors %}<p>Cells that raised an error when run from top to bottom:
{% for error in row.errors %}
code cell {{ error.cell }} ({{ error.raised }}){{ ", " if not loop.last }}
{% endfor %}</p>{% endif %}
{% for exercise in task.exercises if row.marks %}
<h2>{{ title(exercise) }}: {{ row.by_exercise[exercise.id] }} of {{ exercise.points }}</h2>
<table>
<thead><tr><th>What has to hold</th><th>Points</th><th>What was found</th></tr></thead>
<tbody>
{% for mark in row.marks[exercise.id] %}
<tr><td>{{ mark.name }}</td><td>{{ mark.points }} of {{ mark.of }}</td><td>{{ why[mark.why] }}</td></tr>
{% endfor %}
</tbody>
</table>
{% endfor %}
<p>Your functions were called with inputs drawn for your file alone, and compared with a reference solution.</p>
</body>
</html>
"""


def write_feedback(task: Assignment, rows: list[dict[str, Any]], out: Path) -> None:
    """Write `feedback/<student>.html` to `out` for every student who handed something in."""
    from jinja2 import Environment

    page = Environment(autoescape=True, trim_blocks=True).from_string(PAGE)
    students: set[str] = set()
    names: set[str] = set()
    for row in rows:
        student = row["student"]
        name = "".join(letter if letter.isalnum() or letter in "-_ " else "-" for letter in student)
        name = name.encode()[:150].decode(errors="ignore")  # file systems count bytes, and take 255
        if row["file"] and student not in students:
            if name.casefold() in names:  # of another student, whose page it would replace
                name += f"-{hashlib.sha256(student.encode()).hexdigest()[:8]}"
            students.add(student)
            names.add(name.casefold())
            html = page.render(task=task, row=row, why=WHY, title=title)
            store.write(out / "feedback" / f"{name}.html", html.encode())
