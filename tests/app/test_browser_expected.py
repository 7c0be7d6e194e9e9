"""While a knob moves, the prediction moves: in its line, in the chart, and beside the pictures."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.support.browsing import Server, open_page, points, settle

pytestmark = pytest.mark.browser


def ghost(page: Page, chart: str) -> dict[str, list[float]]:
    (point,) = [trace for trace in points(page, chart) if trace["name"] == "predicted"]
    return point


def test_the_predicted_point_and_square_follow_a_knob(server: Server, page: Page) -> None:
    open_page(page, f"{server.url}/?kappa=0.5&rounds=20")
    before, line = ghost(page, "bits_curve"), page.get_by_text("a message ·")
    said = line.inner_text()
    square = page.locator(".outline div").filter(has_text="predicted")
    wide = (square.locator("i").bounding_box() or {})["width"]
    assert ghost(page, "rounds_curve")["x"] == [20]
    page.get_by_role("slider", name="κ, share of flips sent").focus()
    for _ in range(2):
        page.keyboard.press("PageDown")
    expect(line).not_to_have_text(said)
    page.wait_for_function("() => !location.search.includes('kappa=0.5&')")
    settle(page)
    after = ghost(page, "bits_curve")
    assert after["x"][0] < 0.9 * before["x"][0]
    assert (square.locator("i").bounding_box() or {})["width"] < wide
    about = page.locator(".outline").get_by_text("predicted", exact=True)
    expect(about).to_be_visible()
