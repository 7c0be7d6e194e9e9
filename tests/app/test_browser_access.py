"""Whoever comes: with a keyboard alone, with a screen reader, in the dark, on a narrow screen."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.support.browsing import Server, new_visitor, open_more, settle

pytestmark = pytest.mark.browser
PAGES = {"lab": "", "compare": "compare", "wire": "wire", "privacy": "privacy", "learn": "learn"}
# What is drawn last on each page.
DRAWN = {
    "lab": ".st-key-layers .js-plotly-plot", "compare": "[data-testid=stDataFrame]", "wire": "[data-testid=stMain] p",
    "privacy": ".st-key-crowd .js-plotly-plot", "learn": "[data-testid=stMain] p",
}  # fmt: skip
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]}
FOCUSED = """() => {
  let at = document.activeElement;
  while (at.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
  const label = at.getAttribute('aria-label') || (at.labels && at.labels[0] && at.labels[0].innerText) || at.innerText;
  return at === document.body ? '' : (label || at.tagName).trim().replace(/\\s+/g, ' ');
}"""
# What the keyboard must reach on each page, by a part of its name.
REACHED = {
    "lab": ["Run", "Dirichlet α", "κ, share", "More: method", "Play", "Round", "Table", "Export", "Upload", "Compare"],
    "compare": ["DeltaMask, FedPM", "Play", "Round", "Export", "Table", "Lab"],
    "privacy": ["Rounds", "Table"],
}  # fmt: skip
IN_THE_FORM = ["Clients N", "Participation ρ"]  # once "More" is open at the clients' tab


def violations(page: Page) -> list[str]:
    """What axe-core objects to, one line a node."""
    answer = Axe().run(page, options=RULES).response
    return [
        f"{fault['id']}: {node['html'][:200]} {node['any'][0]['message'] if node['any'] else ''}"
        for fault in answer["violations"]
        for node in fault["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_everybody_can_use_the_page(server: Server, browser: Browser, name: str, scheme: str) -> None:
    context = new_visitor(browser, color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"{server.url}/{PAGES[name]}")
    page.locator(DRAWN[name]).first.wait_for()
    settle(page)
    assert page.get_by_test_id("stException").count() == 0
    assert violations(page) == []
    if scheme == "light":
        reached = tabbed(page)
        for wanted in REACHED.get(name, []):
            assert any(wanted in label for label in reached), (wanted, sorted(reached))
        if name == "lab":
            open_more(page, "Clients")
            assert violations(page) == []
            reached = tabbed(page)
            assert all(any(wanted in label for label in reached) for wanted in IN_THE_FORM), sorted(reached)
    charts = page.locator(".js-plotly-plot").count()
    tables = page.locator("[class*=st-key-open_]").get_by_role("button").count()
    if name in REACHED:
        assert charts == tables > 0  # each chart has its numbers behind it
    page.set_viewport_size({"width": 420, "height": 900})
    page.wait_for_timeout(500)
    assert page.get_by_test_id("stMain").evaluate("main => main.scrollWidth") <= 420
    context.close()


def tabbed(page: Page) -> set[str]:
    """What the Tab key comes by, until it comes by the first again."""
    page.evaluate("() => document.body.focus()")
    seen: list[str] = []
    for _ in range(200):
        page.keyboard.press("Tab")
        at = page.evaluate(FOCUSED)
        if not at and len(seen) > 20:
            break
        seen.append(at)
    return set(seen)


def test_pages_ask_nobody_else(server: Server, page: Page) -> None:
    """No telemetry, no fonts from elsewhere: every request goes to the dashboard itself."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server.url)
    page.get_by_test_id("stMain").locator("p").first.wait_for()
    settle(page)
    assert [url for url in asked if not url.startswith((server.url, "data:", "blob:"))] == []
