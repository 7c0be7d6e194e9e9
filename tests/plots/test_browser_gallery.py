"""The gallery as a visitor opens it: from a file, without a network."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from deltamask.cli import main
from tests.support.browsing import new_visitor

pytestmark = pytest.mark.browser


def test_the_gallery_works_from_a_file_with_the_network_off(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "gallery.html"
    assert main(["gallery", "--out", str(path)]) == 0
    visitor = new_visitor(browser, offline=True, viewport={"width": 420, "height": 900})
    page, asked, faults = visitor.new_page(), list[str](), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(path.as_uri())
    expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible()
    picture, words = page.locator("#film img").first, page.locator("#film span").first
    before, said = picture.get_attribute("src"), words.inner_text()
    slider = page.get_by_role("slider", name="Round")
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(words).not_to_have_text(said)
    assert picture.get_attribute("src") != before
    assert picture.evaluate("image => image.complete && image.naturalWidth > 0")
    expect(page.locator("#now")).to_have_text(slider.input_value())
    assert not faults
    assert {url.partition(":")[0] for url in asked} <= {"file", "data", "blob"}
    assert page.evaluate("document.documentElement.scrollWidth") <= 420  # nothing wider than a phone
    visitor.close()
