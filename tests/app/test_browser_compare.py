"""The Compare page, used as a visitor would, over recorded runs, seeds of one setting, and runs that went wrong."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from deltamask.base.paths import recorded_dir
from deltamask.config import RunConfig
from deltamask.plots.run_charts import group_names
from deltamask.runs.folder import RunFolder, write_json
from deltamask.runs.reader import list_runs, load_run
from deltamask.studies.comparison import group_by_seed
from deltamask.studies.find import find
from deltamask.studies.measured import measured_runs
from deltamask.studies.views import get, ordered, prepared
from tests.support.browsing import Server, button, line_names, new_visitor, open_page, play_to, points, settle

pytestmark = pytest.mark.browser
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def stored(server: Server) -> Iterator[Path]:
    """A second seed of `fashion` (its records, shifted), one run that failed after four rounds, one without records."""
    original = load_run(recorded_dir() / "fashion")
    seed = RunFolder.create(server.runs / "second-seed", original.config.replace(seed=1))
    for record in original.records:
        seed.append({**record, "accuracy": record["accuracy"] - 0.01})
    seed.write_status(state="finished")
    failed = RunFolder.create(server.runs / EVIL, original.config.replace(kappa=0.5))
    for record in original.records[:5]:
        failed.append(record)
    failed.write_status(state="failed", message="RuntimeError: out of <b>memory</b>")
    empty = RunFolder.create(server.runs / "hardly-begun", RunConfig(seed=7))
    write_json(empty.path / "status.json", {"state": "stopped"})
    yield server.runs
    for name in ("second-seed", EVIL, "hardly-begun"):
        shutil.rmtree(server.runs / name)


def test_first_visit_plays_the_recorded_comparison(server: Server, page: Page) -> None:
    open_page(page, server.url)
    page.get_by_role("slider", name="Round").press("End")  # the end of this run is not the end of those
    expect(page.get_by_text("Round 40: what the clients sent")).to_be_visible()
    page.get_by_role("link", name="Compare").click()
    expect(page.get_by_text("Round 17: what one client sends")).to_be_visible()  # near the middle, and kept by all
    without = page.get_by_text("No payload of this round was kept by ")
    expect(without).to_have_text(re.compile(r"kept by \d+ · FedPM, side information on · 3 seeds\.$"))  # of the tables
    settle(page)
    runs = prepared(ordered()[0], [*list_runs(recorded_dir()), *measured_runs()])
    groups = group_by_seed(runs)
    curves = {curve["name"]: curve for curve in reversed(points(page, "rounds_curve"))}
    for group, name in zip(groups, group_names(groups), strict=True):
        assert curves[name]["y"] == pytest.approx(group.rounds["accuracy"].tolist())
    play_to(page, 9)
    expect(page.get_by_text(re.compile(r"^Round (9|1\d): what one"))).to_be_visible()
    settle(page)
    at = int(page.get_by_role("slider", name="Round").input_value())
    expect(page.get_by_text(f"Round {at}: what one client sends")).to_be_visible()
    for group in groups:  # curves, pictures and table stand at the same round
        kept = group.runs[0].payloads(at)
        if kept:
            expect(page.locator(".film").get_by_text(f"{kept[0].size:,} bytes")).not_to_have_count(0)
    page.get_by_role("radio", name=get("methods").title).click()
    page.wait_for_function("() => location.search.includes('view=methods')")
    settle(page)
    every = prepared("methods", [*list_runs(recorded_dir()), *measured_runs()])
    expect(page.locator(".st-key-rounds_curve .annotation-text")).to_have_count(len(group_by_seed(every)))


def test_seeds_marks_and_links(server: Server, browser: Browser, page: Page, stored: Path, tmp_path: Path) -> None:
    names = f"fashion,second-seed,fashion-fedpm,{EVIL},hardly-begun,gone"
    open_page(page, f"{server.url}/compare?runs={names}&way=down&per=a round&round=3")
    expect(page.get_by_text("runs: there is no run 'gone' here")).to_be_visible()
    names = " ".join(line_names(page))
    assert "2 seeds" in names
    assert "(failed)" in names
    expect(page.get_by_text("Without a finished round yet: hardly-begun.")).to_be_visible()
    assert page.locator("img[src=x]").count() == 0

    groups = group_by_seed([load_run(recorded_dir() / "fashion"), load_run(stored / "second-seed")])
    drawn = points(page, "pareto")
    bpp, accuracy = groups[0].summary()["bpp_down"], groups[0].summary()["accuracy"]
    assert any(curve["x"] == [bpp] and curve["y"] == [accuracy] for curve in drawn)
    expect(page.get_by_text("Round 3: what one client sends")).to_be_visible()

    page.locator(".st-key-export_comparison button").click()
    with page.expect_download() as waiting:
        button(page, "Everything (JSON)")
    told = json.loads(Path(waiting.value.path()).read_text())
    assert [run["run"] for run in told] == ["fashion", "second-seed", "fashion-fedpm", EVIL]
    assert told[0]["rounds"] == load_run(recorded_dir() / "fashion").records
    with page.expect_download() as waiting:
        button(page, "Report (one HTML file, works offline)")
    report = tmp_path / "comparison.html"
    shutil.copy(waiting.value.path(), report)
    reader = new_visitor(browser, offline=True)
    offline = reader.new_page()
    asked: list[str] = []
    offline.on("request", lambda request: asked.append(request.url))
    offline.goto(report.as_uri())
    expect(offline.locator(".main-svg").first).to_be_visible()
    assert offline.locator(".js-plotly-plot").count() == 3
    assert offline.get_by_role("button", name="Save as SVG").count() == 3
    assert offline.locator("img[src=x]").count() == 0
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    reader.close()


def test_runs_are_found_by_words_and_split_by_a_setting(server: Server, page: Page) -> None:
    open_page(page, f"{server.url}/compare?view={ordered()[0]}")
    page.get_by_text(re.compile(r"^Runs in view: ")).click()
    asked = page.get_by_role("textbox", name="Find")
    asked.fill("kapa<1")
    asked.press("Enter")
    expect(page.get_by_text("no setting or figure is called 'kapa'; is 'kappa' meant?")).to_be_visible()
    asked.fill("headline/ rounds=40 method=lora")
    asked.press("Enter")
    wanted = [run.id for run in find(measured_runs(), "headline/ rounds=40 method=lora")]
    expect(page.get_by_text(f"{len(wanted)} of ")).to_be_visible()
    button(page, "Show these")
    expect(page.get_by_text(f"Runs in view: {len(wanted)}")).to_be_visible()
    asked.fill("headline/fed-sb")
    asked.press("Enter")
    button(page, "Add them")
    more = [run.id for run in find(measured_runs(), "headline/fed-sb")]
    expect(page.get_by_text(f"Runs in view: {len(wanted) + len(more)}")).to_be_visible()
    page.get_by_role("combobox", name="A chart for each value of").click()
    page.get_by_role("option", name="Method", exact=True).click()
    for method in ("fed-sb", "lora"):
        expect(page.get_by_text(f"Method: {method}", exact=True)).to_be_visible()
    settle(page)
    expect(page.locator(".js-plotly-plot")).to_have_count(5)  # a pair for each, and the front
    page.wait_for_function("() => location.search.includes('split=method')")
    page.reload()
    expect(page.get_by_text("Method: fed-sb", exact=True)).to_be_visible()
