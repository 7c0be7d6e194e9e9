"""The Wire and Learn pages, used as a visitor would, mouse and keyboard. `make test-browser`"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from deltamask.base.paths import recorded_dir
from deltamask.inspection import filter_lookup, recorded_payload
from deltamask.runs.folder import RunFolder
from deltamask.runs.reader import Run, load_run
from deltamask.runs.runner import execute
from deltamask.teaching.walkthrough import Settings, play_round
from tests.support import tiny
from tests.support.browsing import Server, metric, new_visitor, settle

pytestmark = pytest.mark.browser
PICTURE = "canvas[data-ready]"


@pytest.fixture(scope="module")
def small(server: Server, tiny_cache: Path) -> Iterator[Run]:
    """A small run beside the recorded ones."""
    config = tiny.config(kappa=0.6, codec="bfuse8")
    folder = RunFolder.create(server.runs / "small", config)
    execute(folder, config, on_record=lambda record: None, show=lambda what, done, total: None)
    yield load_run(server.runs / "small")
    for name in ("small", "hostile"):
        shutil.rmtree(server.runs / name, ignore_errors=True)


def open_wire(page: Page, url: str) -> None:
    page.goto(url)
    page.locator(PICTURE).wait_for()
    settle(page)


def click_pixel(page: Page, offset: int, width: int, height: int) -> None:
    """Click the middle of a pixel of the picture, which is shown whole."""
    box = page.locator(PICTURE).bounding_box()
    assert box is not None
    scale = min(box["width"] / width, box["height"] / height)
    left, top = (box["width"] - width * scale) / 2, (box["height"] - height * scale) / 2
    row, column = divmod(offset, width)
    page.locator(PICTURE).click(position={"x": left + (column + 0.5) * scale, "y": top + (row + 0.5) * scale})


def test_a_recorded_payload_opens_with_its_figures_and_a_pixel_can_be_asked(server: Server, page: Page) -> None:
    run = load_run(recorded_dir() / "fashion")
    payload = next(payload for payload in run.payloads(12) if payload.client == 1)
    opened = recorded_payload.open_payload(run, payload)
    anatomy = opened.anatomy
    assert anatomy.filter is not None
    assert anatomy.slots is not None
    open_wire(page, f"{server.url}/wire?run=fashion&round=12&client=1")
    assert metric(page, "File") == f"{len(anatomy.payload):,} bytes"
    line = recorded_payload.client_record(run, 12, 1)
    assert metric(page, "Flips read").startswith(f"{line['kept'] + line['false_flips']:,}")
    assert page.locator(PICTURE).get_attribute("data-ready") == str(len(anatomy.pixels))
    expect(page.locator(".legend i").first).to_be_visible()  # a patch of colour has no size of its own

    offset = anatomy.slots.start + 10 * anatomy.width + 3
    click_pixel(page, offset, anatomy.width, anatomy.height)
    slot = offset - anatomy.slots.start
    expect(page.get_by_role("spinbutton", name="Byte")).to_have_value(str(offset))
    expect(page.get_by_text(re.compile(f"Slot {slot:,} of fingerprints"))).to_be_visible()
    asking = filter_lookup.askers(anatomy.filter, slot, slot, opened.context.d)
    expect(page.get_by_text(f"{len(asking):,}", exact=True).first).to_be_visible()
    expect(page).to_have_url(re.compile(rf"byte={offset}\b"))

    page.locator(PICTURE).press("ArrowRight")  # and by keyboard
    page.locator(PICTURE).press("Enter")
    expect(page.get_by_role("spinbutton", name="Byte")).to_have_value(str(offset + 1))


def test_a_position_is_looked_up_step_by_step_and_a_link_leads_back_to_it(
    server: Server, small: Run, page: Page
) -> None:
    payload = small.payloads(2)[1]
    opened = recorded_payload.open_payload(small, payload)
    assert opened.flips is not None
    assert opened.flips.sent is not None
    assert opened.anatomy.filter is not None
    open_wire(page, f"{server.url}/wire?run=small&round=2&client={payload.client}&position=0")
    page.get_by_role("button", name="A sent flip").first.click()
    answer = filter_lookup.look_up(opened.anatomy.filter, int(opened.flips.sent[opened.flips.sent > 0][0]))
    expect(page.get_by_text(f"{answer.hash:016x}")).to_be_visible()
    expect(page.get_by_text(f"h2 = {answer.slots[2]:,}")).to_be_visible()
    expect(page.get_by_text("A true flip:")).to_be_visible()
    page.get_by_role("button", name="A false flip").first.click()
    expect(page.get_by_text("A false flip: it was not sent")).to_be_visible()
    page.get_by_text("Rebuild θ_g").click()
    expect(page.get_by_text("so the global mask has a")).to_be_visible()
    settle(page)
    link = page.url
    page.goto("about:blank")
    open_wire(page, link)
    expect(page.get_by_text("A false flip: it was not sent")).to_be_visible()


def test_the_same_flips_are_really_encoded_by_every_codec(server: Server, small: Run, page: Page) -> None:
    open_wire(page, f"{server.url}/wire?run=small&round=1&client=0")
    page.get_by_role("button", name="Encode with every codec").click()
    expect(page.get_by_text("Blue: exact. Orange: adds false flips.")).to_be_visible()
    size = small.payloads(1)[0].size
    expect(page.locator(".js-plotly-plot", has_text=f"{size:,} bytes").first).to_be_attached()


def test_a_changed_byte_is_refused_unless_the_checksum_is_repaired(server: Server, small: Run, page: Page) -> None:
    open_wire(page, f"{server.url}/wire?run=small&round=2&client=0")
    page.get_by_role("button", name="Flip one bit").first.click()
    expect(page.get_by_text("Refused: checksum does not match")).to_be_visible()
    page.get_by_role("button", name="… and repair the checksum").first.click()
    expect(page.get_by_text(re.compile("Accepted: the server cannot know"))).to_be_visible()
    page.get_by_role("button", name="Speak for another client, repaired").first.click()
    expect(page.get_by_text("Refused: client is 1, expected 0")).to_be_visible()
    expect(page.get_by_role("button", name="What does it do to the accuracy?").first).to_be_enabled()


def test_links_out_of_range_are_clamped_and_noted_and_hostile_files_are_refused(
    server: Server, small: Run, page: Page
) -> None:
    open_wire(page, f"{server.url}/wire?run=small&round=99&client=x&byte=-5&position=99999999")
    expect(page.get_by_text("round = 99 is not there: using 2")).to_be_visible()
    expect(page.get_by_text(re.compile("client = .x. is no number: using 0"))).to_be_visible()
    expect(page.get_by_text("byte = -5 is out of range")).to_be_visible()
    expect(page.get_by_text(f"position = 99999999 is out of range (0 to {tiny.D - 1:,})")).to_be_visible()

    hostile = small.path.parent / "hostile"
    shutil.copytree(small.path, hostile)
    target = load_run(hostile).payloads(2)[0].place
    target.write_bytes(target.read_bytes()[:-20] + b"\0" * 20)
    page.goto(f"{server.url}/wire?run=hostile&round=2&client=0")
    expect(page.get_by_text("is refused: PNG")).to_be_visible()


def test_learn_is_stepped_through_and_a_question_answered(server: Server, small: Run, page: Page) -> None:
    round = play_round(Settings(kappa=0.5))
    page.goto(f"{server.url}/learn?step=4&kappa=0.5&bpe=9")
    expect(page.get_by_text("bpe = '9' is none of 8, 16, 32: using 8")).to_be_visible()
    expect(page.get_by_role("heading", name="4. A client trains on its own data")).to_be_visible()
    page.get_by_role("button", name="Next").first.press("Enter")
    expect(page.get_by_role("heading", name="5. Only what changed matters")).to_be_visible()
    expect(page.locator(".walk.blurred")).to_have_count(1)
    page.get_by_text("none at all", exact=True).click()  # wrong here
    expect(
        page.get_by_text(re.compile(f"Not here\\..*{len(round.shown.flips)}\\. A bit flips only where"))
    ).to_be_visible()
    expect(page.locator(".walk.blurred")).to_have_count(0)
    assert page.locator(".walk-cell").count() == 3 * len(round.theta)
    page.get_by_role("button", name="Next").first.click()
    expect(page.get_by_text("nats; the largest of those held back").or_(page.get_by_text("Which?"))).to_be_visible()
    expect(page).to_have_url(re.compile("step=6.*kappa=0.5"))
    page.get_by_role("button", name="Play").first.click()
    expect(page.get_by_role("heading", name="7. The flips go into a filter")).to_be_visible()
    page.get_by_role("button", name="Pause").first.click()
    assert np.isin(round.shown.sent, round.shown.decoded).all()


@pytest.mark.parametrize("path", ["wire?run=small&round=2", "learn?step=9"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_screens_need_no_sideways_scroll(server: Server, browser: Browser, path: str, scheme: str) -> None:
    context = new_visitor(browser, viewport={"width": 420, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{server.url}/{path}")
    page.get_by_role("heading", level=1).wait_for()
    page.get_by_text("Break it" if "wire" in path else "Deeper:").first.wait_for()
    settle(page)
    assert page.evaluate("() => document.querySelector('[data-testid=stMain]').scrollWidth") <= 420
    context.close()


def test_the_server_holds_no_torch(server: Server, small: Run, page: Page) -> None:
    """After all pages have been used."""
    open_wire(page, f"{server.url}/wire?run=small&round=1&client=0")
    maps = Path(f"/proc/{server.process.pid}/maps")
    if not maps.exists():
        pytest.skip("/proc is Linux's")
    assert "libtorch" not in maps.read_text()
