"""How heavy pages are, and how soon their main text is there: measured last, with nothing beside it."""

from collections.abc import Callable

import pytest
from built import MEASURED
from playwright.sync_api import Page, Response

pytestmark = pytest.mark.benchmark

MAIN_TEXT = """() => new Promise(resolve => new PerformanceObserver(
  list => resolve(list.getEntries().at(-1).startTime)).observe({type: 'largest-contentful-paint', buffered: true}))"""


@pytest.mark.parametrize("path", MEASURED)
def test_a_page_is_light_and_soon_there(
    path: str, tab: Page, server: str, record_property: Callable[[str, object], None]
) -> None:
    """At most 1.5 MB sent on the first visit, and the largest text painted within 1.5 seconds."""
    answers: list[Response] = []
    tab.on("response", lambda answer: answers.append(answer))
    tab.goto(f"{server}/{path}", wait_until="load")
    tab.evaluate("() => window.MathJax?.startup?.promise")
    painted = tab.evaluate(MAIN_TEXT) / 1000
    weights = {answer.url: int(answer.headers["content-length"]) for answer in answers if answer.status == 200}
    heaviest = sorted(weights.items(), key=lambda item: -item[1])[:5]
    record_property("measured", f"{path}: {sum(weights.values()) / 1e6:.2f} MB, main text after {painted:.2f} s")
    assert sum(weights.values()) <= 1_500_000, heaviest
    assert painted <= 1.5
