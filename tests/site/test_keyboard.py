"""The site by keyboard alone: what can be clicked can be reached with Tab, is seen to have the focus, and works."""

import pytest
from playwright.sync_api import Page

pytestmark = pytest.mark.site

CONTROLS = "a[href], button, input, select, summary, [tabindex='0']"

# Marks the focused element; its text if nothing on the screen tells that it has the focus.
ARRIVE = """() => {
  const node = document.activeElement;
  if (node === document.body || node.dataset.reached) return null;
  node.dataset.reached = 'yes';
  const marked = ({outlineStyle, boxShadow}) => outlineStyle !== 'none' || boxShadow !== 'none';
  const shown = [null, '::after'].some(part => marked(getComputedStyle(node, part)));  // ::after: of a whole card
  return shown ? '' : node.outerHTML.slice(0, 120);
}"""

# What can be seen and clicked, and was not reached. Tab reaches one radio button of a group, arrows the others.
MISSED = """controls => [...document.querySelectorAll(controls)]
  .filter(node => node.checkVisibility({visibilityProperty: true}) && node.tabIndex >= 0 && !node.dataset.reached)
  .filter(node => !node.disabled && node.type !== 'radio')
  .map(node => node.outerHTML.slice(0, 120))"""


def tab_through(page: Page) -> list[str]:
    """Press Tab until nothing new gets the focus; returns the elements that do not show it."""
    unseen, repeats = [], 0
    while repeats < 5:
        page.keyboard.press("Tab")
        arrived = page.evaluate(ARRIVE)
        repeats = repeats + 1 if arrived is None else 0
        if arrived:
            unseen.append(arrived)
    return unseen


@pytest.mark.parametrize("path", ["book/index.html", "book/results.html", "notebooks/03_ulmfit.html"])
def test_tab_reaches_everything_and_shows_where_it_is(path: str, tab: Page, server: str) -> None:
    tab.goto(f"{server}/{path}")
    assert tab_through(tab) == []
    assert tab.evaluate(MISSED, CONTROLS) == []


def test_the_filter_of_the_results_works_without_a_mouse(tab: Page, server: str) -> None:
    tab.goto(f"{server}/book/results.html")
    count = tab.locator(".claim-filter output")
    before = count.inner_text()
    tab.locator(".claim-filter select").first.focus()
    tab.keyboard.press("ArrowDown")
    assert count.inner_text() != before
    tab.keyboard.press("ArrowUp")
    assert count.inner_text() == before


def test_answers_unfold_by_keyboard(tab: Page, server: str) -> None:
    tab.goto(f"{server}/notebooks/03_ulmfit.html")
    answer = tab.locator("details.sd-dropdown").first
    answer.locator("summary").focus()
    tab.keyboard.press("Enter")
    assert answer.get_attribute("open") is not None
