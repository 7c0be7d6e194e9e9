"""The scrubber moves curves and pictures in the browser, and the server follows when the move has ended."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from deltamask.base.paths import recorded_dir
from deltamask.plots import pictures
from deltamask.runs.reader import load_run
from tests.support.browsing import Server, open_page, settle

pytestmark = pytest.mark.browser
RUNS = "fashion,fashion-recipe,fashion-fedpm"

WATCH = """() => {
    window.seen = {rounds: [], runs: 0, pictures: new Set()}
    const look = new MutationObserver((changes) => {
        const live = document.querySelector(".st-key-rounds_curve .live"), {rounds, pictures} = window.seen
        if (live && rounds.at(-1) !== Number(live.dataset.round)) rounds.push(Number(live.dataset.round))
        for (const image of document.querySelectorAll(".film img")) pictures.add(image.src.slice(0, 5))
        const runs = changes.some(({target}) => target.dataset?.testScriptState === "running")
        if (runs && rounds.length < 40) window.seen.runs++
    })
    const attributeFilter = ["data-test-script-state", "src"]
    look.observe(document.body, {subtree: true, childList: true, attributes: true, attributeFilter})
}"""
DOTS = """chart => [...chart.querySelectorAll(".live circle")].map(dot => {
    const {x, width, y, height} = dot.getBoundingClientRect()
    return [Math.round(x + width / 2), Math.round(y + height / 2)]
})"""
MARKS = """chart => [...chart.querySelectorAll(".scatterlayer .trace")].filter(node => {
    const {customdata, legendgroup, mode} = node.__data__[0].trace
    return legendgroup && !customdata && mode === "markers"
}).map(node => {
    const {x, width, y, height} = node.querySelector(".point").getBoundingClientRect()
    return [Math.round(x + width / 2), Math.round(y + height / 2)]
})"""


def test_play_shows_every_round_and_asks_the_server_for_none(server: Server, page: Page) -> None:
    open_page(page, f"{server.url}/compare?runs={RUNS}")
    page.evaluate(WATCH)
    page.get_by_role("button", name="Play", exact=True).click()
    expect(page.get_by_text("Round 40: what one client sends")).to_be_visible()
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    page.wait_for_function("() => location.search.includes('round=40')")
    settle(page)
    seen = page.evaluate("() => ({...window.seen, pictures: [...window.seen.pictures]})")
    assert seen["rounds"] == list(range(41))
    assert seen["runs"] == 0
    assert "blob:" in seen["pictures"]
    expect(page.locator(".live")).to_have_count(0)
    last = load_run(recorded_dir() / "fashion").payloads(40)[0]
    expect(page.locator(".film figure").first).to_contain_text(f"{last.size:,} bytes")


@pytest.mark.parametrize("curve", ["bits_curve", "rounds_curve"])
def test_what_a_drag_shows_is_where_the_server_puts_it(server: Server, page: Page, curve: str) -> None:
    open_page(page, f"{server.url}/compare?runs={RUNS}&round=30")
    slider, chart = page.get_by_role("slider", name="Round"), page.locator(f".st-key-{curve} .js-plotly-plot")
    slider.evaluate("slider => { slider.value = 9; slider.dispatchEvent(new Event('input')) }")
    expect(chart.locator(".live circle")).to_have_count(3)
    expect(page.get_by_text("Round 9: what one client sends")).to_be_visible()
    drawn = chart.evaluate(DOTS)
    slider.dispatch_event("change")
    page.wait_for_function("() => location.search.includes('round=9')")
    settle(page)
    expect(chart.locator(".live")).to_have_count(0)
    marked = chart.evaluate(MARKS)
    assert len(marked) == 3
    assert sorted(marked) == [pytest.approx(dot, abs=1.5) for dot in sorted(drawn)]


def ask(server: Server, headers: dict[str, str] | None = None, **asked: object) -> tuple[int, dict[str, Any], bytes]:
    request = urllib.request.Request(f"{server.url}/message?{urlencode(asked)}", headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, dict(reply.headers), reply.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def test_a_message_is_served_as_the_page_shows_it(server: Server) -> None:
    payload = load_run(recorded_dir() / "fashion").payloads(9)[1]
    drawn = pictures.draw(payload)
    status, headers, body = ask(server, run="fashion", round=9, client=payload.client)
    assert (status, headers["content-type"], body) == (200, "image/png", drawn.png)
    assert (headers["x-message-bytes"], headers["x-message-width"]) == (str(payload.size), str(drawn.width))
    assert headers["content-security-policy"]
    first = load_run(recorded_dir() / "fashion").payloads(9)[0]
    assert ask(server, run="fashion", round=9, client="first")[2] == pictures.draw(first).png


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"run": "fashion", "round": 9, "client": 4}, 204),
        ({"run": "fashion", "round": 10**9, "client": 0}, 204),
        ({"run": "fashion", "round": -1, "client": 0}, 204),
        ({"run": "../../etc", "round": 1, "client": 0}, 404),
        ({"run": "nothing", "round": 1, "client": "first"}, 404),
        ({"run": "fashion", "round": "x", "client": 0}, 400),
        ({"run": "fashion", "round": 1}, 400),
    ],
)
def test_what_is_not_there_is_not_served(server: Server, asked: dict[str, object], status: int) -> None:
    assert ask(server, **asked)[0] == status


def test_pages_elsewhere_are_refused(server: Server) -> None:
    assert ask(server, {"Host": "evil.example"}, run="fashion", round=9, client=0)[0] == 403


OPACITY = """chart => Object.fromEntries([...chart.querySelectorAll(".scatterlayer .trace")].map(node => {
    const {trace} = node.__data__[0]
    return [trace.legendgroup, Number(node.style.opacity) / trace.opacity]
}))"""


def test_who_points_at_a_name_sees_its_line_first_in_both_charts(server: Server, page: Page) -> None:
    open_page(page, f"{server.url}/compare?runs={RUNS}&round=20")
    bits, rounds = (page.locator(f".st-key-{name} .js-plotly-plot") for name in ("bits_curve", "rounds_curve"))
    name = rounds.locator(".annotation").filter(has_text="2 · ")
    page.wait_for_function(
        "() => document.querySelector('.st-key-rounds_curve .annotation').style.pointerEvents === 'all'"
    )
    at_rest = [chart.evaluate(OPACITY) for chart in (bits, rounds)]
    assert all(set(shares.values()) == {1} for shares in at_rest)
    name.locator("text").first.hover(force=True)
    page.wait_for_function("() => document.querySelector('.st-key-bits_curve .trace').style.opacity < 0.1")
    for chart, before in zip((bits, rounds), at_rest, strict=True):
        shares = chart.evaluate(OPACITY)
        (lifted,) = [group for group, share in shares.items() if share == 1]
        assert lifted == list(before)[1]
        assert all(share == pytest.approx(0.12) for group, share in shares.items() if group != lifted)
    page.get_by_role("heading", level=1).hover()
    page.wait_for_function("() => document.querySelector('.st-key-bits_curve .trace').style.opacity > 0.1")
    assert [chart.evaluate(OPACITY) for chart in (bits, rounds)] == at_rest
