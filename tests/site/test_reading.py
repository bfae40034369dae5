"""What scripts do for a reader: the claims' filter, links into a chapter, paper, the search."""

import pytest
from built import LONGEST_CHAPTER
from playwright.sync_api import Page

pytestmark = pytest.mark.site


def test_the_filter_is_part_of_the_address_and_hides_no_target(tab: Page, server: str) -> None:
    tab.goto(f"{server}/book/results.html?verdict=refuted")
    shown = tab.locator(".claim:visible")
    assert shown.count() == tab.locator(".claim-refuted").count() > 0
    tab.select_option("select[name=verdict]", "confirmed")
    assert tab.url.endswith("?verdict=confirmed")
    tab.reload()
    assert shown.count() == tab.locator(".claim-confirmed").count() > 0
    hidden = tab.locator(".claim-inconclusive").first
    tab.evaluate("id => { location.hash = id }", hidden.get_attribute("id"))
    hidden.wait_for(state="visible")
    assert hidden.bounding_box()["y"] < 900


def test_a_link_into_a_chapter_leads_there(tab: Page, server: str) -> None:
    """Also when formulas above the target are set after the jump."""
    tab.goto(f"{server}/{LONGEST_CHAPTER}#the-verdicts", wait_until="load")
    tab.wait_for_function(
        "() => [...document.querySelectorAll('.math')].every(node => node.querySelector('mjx-container'))"
    )
    tab.wait_for_timeout(500)
    top = tab.locator("#the-verdicts :is(h1, h2)").first.bounding_box()["y"]
    assert 0 <= top <= 150


def test_paper_is_white_and_unfolded(tab: Page, server: str) -> None:
    tab.emulate_media(color_scheme="dark")
    tab.goto(f"{server}/{LONGEST_CHAPTER}", wait_until="load")
    state = """() => [document.documentElement.dataset.theme,
      document.querySelectorAll('article details.sd-dropdown:not([open])').length]"""
    theme, folded = tab.evaluate(state)
    assert theme == "dark" and folded > 0
    tab.evaluate("() => { dispatchEvent(new Event('beforeprint')) }")
    assert tab.evaluate(state) == ["light", 0]
    tab.evaluate("() => { dispatchEvent(new Event('afterprint')) }")
    assert tab.evaluate(state) == ["dark", folded]


def test_the_search_shows_prose(tab: Page, server: str) -> None:
    tab.goto(f"{server}/search.html?q=adapter", wait_until="load")
    found = tab.locator("#search-results li")
    tab.locator("#search-results li p.context").first.wait_for()
    excerpts = " ".join(found.all_inner_texts())
    assert "notebooks/11_adapters" in " ".join(a.get_attribute("href") for a in found.locator("a").all())
    assert "dapter" in excerpts and "Open issue" not in excerpts and "\\(" not in excerpts
