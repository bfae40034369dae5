"""Every page of the built site in a real browser: light, dark, and as wide as a phone."""

import re
from collections.abc import Iterator

import pytest
from built import PAGES
from playwright.sync_api import Browser, BrowserContext, Page, Route

pytestmark = pytest.mark.site

VIEWS = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "is_mobile": True, "has_touch": True},
}

# Text that a reader sees as prose: no code, no formulas.
PROSE = """() => {
  const article = (document.querySelector('article') ?? document.querySelector('main')).cloneNode(true);
  article.querySelectorAll('pre, code, .math, mjx-container, svg, style, script').forEach(node => node.remove());
  return article.textContent;
}"""
MARKUP = r"\{[a-z:-]+\}`|\{[.#]|\$[^\d\s]|\\begin\{|\\\(|\*\*|^% |^:::|```|\]\("

HEIGHT = "document.documentElement.scrollHeight"
# Formulas that MathJax did not set, or set with an error.
UNSET_FORMULAS = """() => [...document.querySelectorAll('article .math')]
  .filter(node => !node.querySelector('mjx-container') || node.querySelector('[data-mml-node=merror]'))
  .map(node => node.textContent.slice(0, 80))"""

# Elements that stick out of the page, unless an ancestor scrolls or hides them.
STICKING_OUT = """() => {
  const width = document.documentElement.clientWidth;
  const contained = node => {
    for (let up = node.parentElement; up && up !== document.body; up = up.parentElement)
      if (getComputedStyle(up).overflowX !== 'visible') return true;
    return false;
  };
  return [...document.querySelectorAll('article *')]
    .filter(node => node.getBoundingClientRect().right > width + 1 && !contained(node))
    .map(node => node.outerHTML.slice(0, 120));
}"""

AXE = """async () => {
  const found = await axe.run(document, {resultTypes: ['violations']});
  const node = (v, n) => `${v.impact} ${v.id}: ${n.html.slice(0, 160)} (${n.any.map(a => a.message)})`;
  return found.violations.flatMap(v => v.nodes.map(n => node(v, n)));
}"""


@pytest.fixture(scope="module", params=VIEWS)
def view(request: pytest.FixtureRequest, browser: Browser, server: str) -> Iterator[tuple[str, Page, list[str]]]:
    """A name from `VIEWS`, a browser tab that looks that way, and a list that collects what goes wrong in it."""
    context = browser.new_context(**VIEWS[request.param])
    yield request.param, *watched_tab(context, server)
    context.close()


def watched_tab(context: BrowserContext, server: str) -> tuple[Page, list[str]]:
    """A tab that reaches no host but the server, and a list of its errors, failed and outside requests."""
    page, problems = context.new_page(), []

    def stay_home(route: Route) -> None:
        if route.request.url.startswith((server, "data:", "blob:")):
            route.continue_()
        else:
            problems.append(f"outside request: {route.request.url}")
            route.abort()

    page.route("**/*", stay_home)
    page.on("console", lambda message: message.type == "error" and problems.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: problems.append(f"script error: {error}"))
    page.on("requestfailed", lambda request: problems.append(f"failed request: {request.url} {request.failure}"))
    page.on("response", lambda answer: answer.status >= 400 and problems.append(f"{answer.status}: {answer.url}"))
    return page, problems


@pytest.mark.parametrize("path", PAGES or ["index.html"])
def test_page(path: str, view: tuple[str, Page, list[str]], server: str, axe: str) -> None:
    """The page loads without error, asks nothing of others, shows no raw markup, fits, and bars nobody."""
    name, page, problems = view
    problems.clear()
    page.goto(f"{server}/{path}", wait_until="load")
    page.evaluate("() => window.MathJax?.startup?.promise")
    found = problems + look(page, name, axe)
    assert not found, "\n".join(found)


def look(page: Page, view: str, axe: str) -> list[str]:
    """What is wrong with a loaded page: its theme, its width, its formulas, its prose, its barriers."""
    height = page.evaluate(HEIGHT)
    page.add_style_tag(content="* { content-visibility: visible !important }")  # code out of view is looked at, too
    problems = [f"sticks out: {node}" for node in page.evaluate(STICKING_OUT)]
    if abs(grown := page.evaluate(HEIGHT) - height) > 20:  # each line is rounded to a 64th of a pixel
        problems.append(f"code out of view had another height: the page grew by {grown} px")
    theme, width = page.evaluate("[document.documentElement.dataset.theme, document.documentElement.scrollWidth]")
    if theme != VIEWS[view]["color_scheme"]:
        problems.append(f"the theme is {theme}")
    if width > VIEWS[view]["viewport"]["width"]:
        problems.append(f"the page is {width} px wide")
    problems += [f"formula: {text}" for text in page.evaluate(UNSET_FORMULAS)]
    lines = page.evaluate(PROSE).splitlines()
    problems += [f"raw markup: {line.strip()}" for line in lines if re.search(MARKUP, line)]
    page.evaluate(axe)
    return problems + page.evaluate(AXE)
