"""Course work: assignments made from the chapters' exercises, and grading that runs no student's code beside the marks.

`exercises` finds the exercises in a chapter's notebook, `assignment` makes what students and instructors get,
`submissions` reads what came back, `sandbox` and `worker` run it shut away, `grading` compares with the reference.
"""


class CourseError(RuntimeError):
    """An assignment or a grading run cannot be made; the message names the cell or file and the remedy."""
