"""The Lab, used as a visitor would: a real server, a real browser, real runs. `make test-browser`"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from deltamask.base.paths import recorded_dir
from deltamask.plots.chart_table import as_table
from deltamask.plots.run_charts import bits_by_round
from deltamask.runs.queue import PLACE
from deltamask.runs.reader import load_run, read_records
from deltamask.runs.status import read_json
from tests.support.browsing import (
    Server,
    button,
    metric,
    new_visitor,
    open_more,
    open_page,
    play_to,
    points,
    settle,
)

pytestmark = pytest.mark.browser
SMALL = "train_samples=600&test_samples=200&probe_epochs=5"


def round_shown(page: Page) -> int:
    return int(page.get_by_role("slider", name="Round").input_value())


def downloaded(page: Page, name: str) -> bytes:
    with page.expect_download() as waiting:
        button(page, name)
    return Path(waiting.value.path()).read_bytes()


def test_quick_tour(server: Server, page: Page, tmp_path: Path) -> None:
    """Open, play, set κ and α, run, pause, step, go on, scrub, export, follow a link in a new tab, upload."""
    open_page(page, server.url)
    page.evaluate("() => { window.stillTheSamePage = true }")

    # What the page says of the recorded run is what its folder says.
    run = load_run(recorded_dir() / "fashion")
    summary, last = run.summary(), run.records[-1]
    assert metric(page, f"Accuracy, round {last['round']}") == f"{last['accuracy']:.4f}"
    assert metric(page, "Accuracy, last ten") == f"{summary['accuracy']:.4f}"
    assert metric(page, "Uplink a round") == f"{summary['bpp_up']:.4f} bpp"
    assert metric(page, "Uplink in all") == f"{summary['bpp_up_total']:.2f} bpp"
    middle = run.records[last["round"] // 2]  # where a finished run opens: its last messages are all but empty
    expect(page.get_by_text(f"{middle['uplink_bytes']:,} bytes together")).to_be_visible()
    curve = points(page, "bits_curve")[0]
    assert curve["y"] == [record["accuracy"] for record in run.records]
    assert curve["x"] == pytest.approx(run.rounds["bpp_up_total"].tolist())

    play_to(page, 5)
    expect(page.get_by_text(re.compile(r"^Round ([5-9]|1\d): what"))).to_be_visible()
    settle(page)
    stopped_at = round_shown(page)
    assert 5 <= stopped_at < last["round"]
    record = run.records[stopped_at]
    expect(page.get_by_text(f"{record['uplink_bytes']:,} bytes together")).to_be_visible()

    open_more(page, "Clients")
    split = page.locator(".split")
    before = split.inner_text()
    page.get_by_role("slider", name="Dirichlet α").focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("() => location.search.includes('dirichlet_alpha=3.0')")
    expect(split).not_to_have_text(before)
    page.get_by_role("slider", name="κ, share of flips sent").focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("() => location.search.includes('kappa=0.99')")
    expect(page.get_by_text("Predicted", exact=True)).to_be_visible()

    button(page, "Run")
    expect(page.get_by_test_id("stProgress").get_by_text(re.compile("Round [12] of 8, client"))).to_be_visible()
    button(page, "Pause run")
    below = page.get_by_test_id("stProgress")  # the strip on top says the same
    paused = below.get_by_text(re.compile(r"Paused after round \d+ of 8"))
    expect(paused).to_be_visible()
    (folder,) = [path for path in server.runs.iterdir() if (path / "config.json").exists()]
    expect(page).to_have_url(re.compile(re.escape(f"run={folder.name}")))
    config = load_run(folder).config
    assert (config.kappa, config.dirichlet_alpha) == (0.99, 3.0)
    records = len(read_records(folder))
    button(page, "Step")
    expect(below.get_by_text(f"Paused after round {records} of 8")).to_be_visible()
    assert len(read_records(folder)) == records + 1
    button(page, "Continue")
    expect(page.get_by_text("Finished: 8 rounds")).to_be_visible()
    expect(page.get_by_text("Round 8: what the clients sent")).to_be_visible()

    mine = load_run(folder)
    assert [record["round"] for record in mine.records] == list(range(9))
    assert metric(page, "Accuracy, mean of 8") == f"{mine.summary()['accuracy']:.4f}"
    expect(page.locator(".film img")).to_have_count(5)  # keep_payloads = all, 5 clients
    assert sum(payload.size for payload in mine.payloads()) == mine.summary()["uplink_bytes"]

    page.get_by_role("slider", name="Round").focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    expect(page.get_by_text("Round 5: what the clients sent")).to_be_visible()
    expect(page.get_by_text(f"{mine.records[5]['uplink_bytes']:,} bytes together")).to_be_visible()
    page.wait_for_function("() => location.search.includes('round=5')")

    page.locator(".st-key-open_bits button").click()  # the table behind a chart
    rows = list(csv.DictReader(io.StringIO(downloaded(page, "CSV").decode())))
    table = as_table(bits_by_round(mine))
    assert [row["curve"] for row in rows] == table["curve"].tolist()
    assert [float(row["bits per parameter"]) for row in rows] == pytest.approx(table["bits per parameter"].tolist())

    page.locator(".st-key-export_run button").click()
    expect(page.get_by_text("deltamask run --train-samples 1000").first).to_be_visible()
    rows = list(csv.DictReader(io.StringIO(downloaded(page, "Rounds (CSV)").decode())))
    assert [float(row["bpp_up"]) for row in rows] == [record["bpp_up"] for record in mine.records]
    archive = tmp_path / f"{folder.name}.zip"
    archive.write_bytes(downloaded(page, "The run folder (zip)"))
    page.keyboard.press("Escape")

    tab = page.context.new_page()
    open_page(tab, page.url)
    expect(tab.get_by_text("Round 5: what the clients sent")).to_be_visible()
    expect(tab.get_by_role("slider", name="κ, share of flips sent")).to_have_value("0.99")
    assert metric(tab, "Accuracy, mean of 8") == f"{mine.summary()['accuracy']:.4f}"

    tab.locator("input[type=file]").set_input_files(archive)
    tab.wait_for_function(f"() => location.search.includes('run={folder.name}-2')")
    settle(tab)
    expect(tab.get_by_text("Finished: 8 rounds")).to_be_visible()
    assert metric(tab, "Uplink in all") == f"{mine.summary()['bpp_up_total']:.2f} bpp"
    assert load_run(server.runs / f"{folder.name}-2").records == mine.records
    assert page.evaluate("() => window.stillTheSamePage"), "the page was loaded again"


def test_what_is_not_here_is_fetched_only_when_somebody_says_so(server: Server, page: Page, tmp_path: Path) -> None:
    """Size and licence first. A folder of one's own pictures needs no word."""
    open_page(page, f"{server.url}/?backbone=clip-vit-b32&dataset=cifar-10")
    run = page.get_by_role("button", name="Run", exact=True)
    expect(page.get_by_text("Run waits for the weights of clip-vit-b32 and the dataset cifar-10")).to_be_visible()
    expect(run).to_be_disabled()
    expect(page.get_by_text("huggingface.co has it: 351.4 MB. Licence: MIT (OpenAI CLIP)")).to_be_visible()
    expect(page.get_by_text(re.compile(r"has it: 170\.1 MB\. Licence: none stated"))).to_be_visible()
    expect(page.get_by_role("button", name="Download", exact=True)).to_be_visible()
    open_more(page, "Clients")
    start = page.get_by_role("combobox", name="Start from")
    start.fill("the paper's study")  # of this backbone and this dataset; a long list shows what fits
    start.press("Enter")
    page.wait_for_function("() => location.search.includes('kappa=0.8') && location.search.includes('masked_blocks=5')")
    expect(page).to_have_url(re.compile("backbone=clip-vit-b32&"))
    start.fill("quick")
    start.press("Enter")
    page.wait_for_function("() => !location.search.includes('kappa=0.8')")
    page.get_by_role("combobox", name="Backbone").fill("clip-vit-b32")
    page.get_by_role("combobox", name="Backbone").press("Enter")
    page.get_by_text("Fetch it when the run starts").click()
    expect(run).to_be_enabled()

    for colour in ("red", "blue"):
        (tmp_path / "photos" / colour).mkdir(parents=True)
        for at in range(10):
            Image.new("RGB", (40, 30), colour).save(tmp_path / "photos" / colour / f"{at}.png")
    dataset = page.get_by_role("combobox", name="Dataset")
    dataset.fill(f"folder:{tmp_path}/none")
    dataset.press("Enter")
    expect(page.get_by_text(f"{tmp_path}/none: no such folder")).to_be_visible()
    expect(run).to_be_disabled()
    dataset.fill(f"folder:{tmp_path}/photos")
    dataset.press("Enter")
    page.get_by_role("spinbutton", name="Clients N").fill("2")
    page.get_by_role("spinbutton", name="Clients N").press("Enter")
    expect(page.get_by_text("Licence: your own")).to_be_visible()
    expect(page.locator(".split tr").first.locator("th")).to_have_text(["client", "blue", "red"])
    expect(run).to_be_enabled()
    page.wait_for_function("() => decodeURIComponent(location.search).includes('/photos')")
    page.reload()
    button(page, "Read this folder")  # an address may be anybody's: what it names is not read unasked
    expect(page.get_by_text("Licence: your own")).to_be_visible()


def test_link_out_of_range_is_clamped_and_said(server: Server, page: Page) -> None:
    last = load_run(recorded_dir() / "fashion").records[-1]["round"]
    open_page(page, f"{server.url}/?kappa=9&clients=abc&colour=red&run=../../etc&round=999&way=sideways")
    expect(page.get_by_text("kappa = '9' is out of range (0 < kappa ≤ 1): using 1.0")).to_be_visible()
    expect(page.get_by_text("clients = 'abc' is out of range")).to_be_visible()
    expect(page.get_by_text("there is no run '../../etc' here")).to_be_visible()
    expect(page.get_by_text(f"round = '999' is out of range (0 ≤ round ≤ {last}): using {last}")).to_be_visible()
    expect(page.get_by_text("way = 'sideways' is none of up, down, total: using up")).to_be_visible()


def test_faulty_settings_name_field_and_range_and_block_run(server: Server, page: Page) -> None:
    open_page(page, f"{server.url}/?clients=5000&train_samples=1000")
    expect(page.get_by_text("clients × min_client_samples = 5000 × 8 = 40000 exceeds").first).to_be_visible()
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_disabled()


def test_the_first_screen_has_knobs_picture_and_both_curves(server: Server, browser: Browser) -> None:
    """At 1440 × 900, without scrolling; and the squares are as large as what was sent."""
    visitor = new_visitor(browser, viewport={"width": 1440, "height": 900})
    page = visitor.new_page()
    open_page(page, server.url)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.get_by_role("heading", level=2).count() >= 2
    places = [page.get_by_role("combobox", name=name) for name in ("Backbone", "Dataset")]
    places += [page.get_by_role("slider", name=name) for name in ("κ, share of flips sent", "Dirichlet α")]
    places += [page.get_by_role("radiogroup", name="Bits per entry, bpe"), page.locator(".outline")]
    places += [page.locator(f".st-key-{name} .js-plotly-plot") for name in ("bits_curve", "rounds_curve")]
    for place in places:
        box = place.bounding_box()
        assert box, place
        assert box["y"] + box["height"] <= 900, place
    round = round_shown(page)
    sent = load_run("fashion").records[round]
    one = sent["uplink_bytes"] / len(sent["clients"])
    square = page.locator(".outline div").filter(has_text=f"{one:,.0f} bytes").locator("i")
    share = (square.bounding_box() or {})["width"] / (page.locator(".outline").bounding_box() or {})["width"]
    assert share**2 == pytest.approx(one / (4 * load_run("fashion").task["d"]), rel=0.1)
    visitor.close()


def test_bits_per_entry_in_a_link(server: Server, page: Page) -> None:
    open_page(page, f"{server.url}/?bpe=16&kappa=0.5")
    expect(page.get_by_role("radio", name="16", exact=True)).to_be_checked()
    page.wait_for_function("() => location.search.includes('codec=bfuse16') && !location.search.includes('bpe')")
    open_page(page, f"{server.url}/?bpe=12")
    expect(page.get_by_text("bpe = '12' is none of 8, 16, 32: using bfuse8")).to_be_visible()
    open_page(page, f"{server.url}/?bpe=16&codec=gap")
    expect(page.get_by_text("bpe = '16': gap has no entries of a width that could be chosen")).to_be_visible()


def queued(server: Server) -> list[str]:
    """The runs that wait."""
    return [json.loads(file.read_text())["run"] for file in sorted((server.runs / PLACE).glob("*.json"))]


def test_two_users_a_closed_tab_a_restart_and_a_kill(server: Server, browser: Browser) -> None:
    """One run goes at a time, whoever asks; neither a closed tab nor the server's end harms it."""
    before = set(server.runs.iterdir()) if server.runs.exists() else set()
    first, second = new_visitor(browser), new_visitor(browser)
    one, two = first.new_page(), second.new_page()
    open_page(one, f"{server.url}/?{SMALL}&rounds=400")
    button(one, "Run")
    expect(one.get_by_test_id("stProgress").get_by_text(re.compile(r"Round [1-9]\d* of 400"))).to_be_visible()
    (long,) = [path for path in set(server.runs.iterdir()) - before if (path / "config.json").exists()]
    open_page(two, f"{server.url}/?{SMALL}&rounds=2")
    button(two, "Run")
    expect(two.get_by_text("Waiting: one run goes at a time, and 1 come first.")).to_be_visible()
    (short,) = [server.runs / name for name in queued(server)]
    assert not (short / "config.json").exists()

    link = two.url
    first.close()  # the first visitor leaves
    server.stop()
    seen = len(read_records(long))
    while len(read_records(long)) < seen + 2:  # nobody watches, no server, and it goes on
        time.sleep(0.2)
    server.start()
    assert queued(server) == [short.name]
    open_later = second.new_page()
    open_later.goto(link)
    expect(open_later.get_by_text("Waiting: one run goes at a time")).to_be_visible()

    os.kill(read_json(long / "status.json")["pid"], signal.SIGKILL)
    expect(open_later.get_by_text("Finished: 2 rounds")).to_be_visible()  # its turn has come
    run = load_run(short)
    assert metric(open_later, "Accuracy, mean of 2") == f"{run.summary()['accuracy']:.4f}"
    assert queued(server) == []

    watcher = second.new_page()
    open_page(watcher, f"{server.url}/?run={long.name}")
    expect(watcher.get_by_text("The process is gone: killed")).to_be_visible()
    rounds = len(read_records(long))
    button(watcher, "Resume")
    going = watcher.get_by_test_id("stProgress")
    expect(going.get_by_text(re.compile(rf"Round ({rounds + 1}|[1-9]\d+) of 400"))).to_be_visible()
    button(watcher, "Stop")
    expect(watcher.get_by_text(re.compile(r"Stopped after round \d+ of 400"))).to_be_visible()
    assert json.loads((long / "status.json").read_text())["state"] == "stopped"
    records = load_run(long).records
    assert len(records) >= rounds
    assert [record["round"] for record in records] == list(range(len(records)))
    second.close()
