"""How long the site takes from what the chapters printed when they last ran."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from built import ROOT

from tlib import pipeline

pytestmark = pytest.mark.site


def test_the_site_is_built_from_kept_outputs_within_a_minute(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    project = pipeline.Project(ROOT)
    if stale := [chapter for chapter in project.chapters() if not pipeline.is_fresh(project, chapter)]:
        pytest.fail(f"The outputs of {', '.join(stale)} are not kept: run `make book` first.")
    project.build = tmp_path  # the kept outputs stay where they are
    started = time.perf_counter()
    index = pipeline.build_book(project)
    seconds = time.perf_counter() - started
    record_property("measured", f"the site from kept outputs: {seconds:.0f} s")
    assert index.is_relative_to(tmp_path) and index.is_file()
    assert seconds <= 60
