"""Whatever is open on a page, a link to another page leads there."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.support.browsing import Server, open_page, settle

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("address", "to", "heading"), [
    ("/?run=fashion", "Compare", "What does accuracy cost in bits?"),
    ("/compare", "Lab", "What does a client send, and what does it buy?"),
])  # fmt: skip
def test_a_link_leads_on_while_a_menu_is_open(server: Server, page: Page, address: str, to: str, heading: str) -> None:
    open_page(page, server.url + address)
    names = page.get_by_test_id("stPopoverButton").all_inner_texts()
    assert names
    for place in range(len(names)):
        page.get_by_test_id("stPopoverButton").nth(place).click()
        expect(page.get_by_test_id("stPopoverBody")).to_be_visible()
        settle(page)
        page.get_by_role("link", name=to, exact=True).first.click()
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
        settle(page)
        expect(page.locator(".js-plotly-plot").first).to_be_visible()
        open_page(page, server.url + address)
