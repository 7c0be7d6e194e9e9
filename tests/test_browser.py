"""The dashboard, used as a visitor would: a real server, a real browser, real runs. `make test-browser`"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from deltamask.store import load_run, read_records, recorded_dir

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 90_000  # ms; the machine may be busy
# Headless Chromium without its own background traffic.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip


@dataclass
class Server:
    url: str
    runs: Path
    pid: int


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The dashboard on a free port, with its own runs folder and an empty feature cache."""
    home = tmp_path_factory.mktemp("dashboard")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "DELTAMASK_RUNS": str(home / "runs"), "DELTAMASK_CACHE": str(home / "cache")}
    command = [sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    url = f"http://localhost:{port}"
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"{url}/_stcore/health", timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, "the server ended at once"
                time.sleep(0.2)
        yield Server(url, home / "runs", process.pid)
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "no Chromium: `apt-get install chromium`, or set CHROMIUM to one"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 1600})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    yield page
    assert page.get_by_test_id("stException").count() == 0
    context.close()


def open_lab(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=PATIENCE)


def metric(page: Page, name: str) -> str:
    """The value that a metric shows."""
    box = page.get_by_test_id("stMetric").filter(has_text=name)
    return box.get_by_test_id("stMetricValue").inner_text()


def button(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def test_first_visit_shows_recorded_runs_with_their_figures(server: Server, page: Page) -> None:
    open_lab(page, server.url)
    run = load_run(recorded_dir() / "fashion")
    summary = run.summary()
    assert metric(page, "Accuracy, last ten") == f"{summary['accuracy']:.4f}"
    assert metric(page, "Uplink a round") == f"{summary['bpp_up']:.4f} bpp"
    assert metric(page, "Uplink in all") == f"{summary['bpp_up_total']:.2f} bpp"
    last = run.records[-1]
    expect(page.get_by_text(f"{last['uplink_bytes']:,} bytes together")).to_be_visible()
    names = page.locator(".js-plotly-plot .legendtext").all_text_contents()
    assert {"FedPM", "Linear probe"} <= set(names)


def test_round_slider_drives_the_pictures(server: Server, page: Page) -> None:
    open_lab(page, f"{server.url}/?run=fashion")
    page.get_by_role("slider", name="Round").focus()
    page.keyboard.press("ArrowLeft")
    record = load_run(recorded_dir() / "fashion").records[-2]
    expect(page.get_by_text(f"{record['uplink_bytes']:,} bytes together")).to_be_visible()
    expect(page.get_by_text(f"r{record['round']:04d}-c00.png")).to_be_visible()
    assert page.locator("[data-testid=stImage] img").count() >= 2


def test_link_out_of_range_is_clamped_and_said(server: Server, page: Page) -> None:
    open_lab(page, f"{server.url}/?kappa=9&clients=abc&colour=red&run=nowhere")
    expect(page.get_by_text("kappa = '9' is out of range (0 < kappa ≤ 1): using 1.0")).to_be_visible()
    expect(page.get_by_text("clients = 'abc' is out of range")).to_be_visible()
    expect(page.get_by_text("There is no run 'nowhere' here")).to_be_visible()


def test_faulty_settings_name_field_and_range_and_block_run(server: Server, page: Page) -> None:
    open_lab(page, f"{server.url}/?clients=5000&train_samples=1000")
    expect(page.get_by_text("clients × min_client_samples = 5000 × 8 = 40000 exceeds").first).to_be_visible()
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_disabled()


def test_quick_preset_draws_its_first_point_and_then_each_round(server: Server, page: Page) -> None:
    open_lab(page, server.url)  # the form shows the quick preset
    page.evaluate("() => { window.stillTheSamePage = true }")
    pressed = time.monotonic()
    button(page, "Run")
    expect(page.get_by_text(re.compile(r"^Round \d: what the clients sent"))).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text(re.compile("of 8, client"))).to_be_visible()
    print(f"first point after {time.monotonic() - pressed:.1f} s, from an empty feature cache")
    expect(page.get_by_text("Finished: 8 rounds")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text("Round 8: what the clients sent")).to_be_visible()
    expect(page.locator("[data-testid=stImage] img")).to_have_count(5)  # keep_payloads = all, 5 clients
    (folder,) = server.runs.iterdir()
    run = load_run(folder)
    assert f"run={folder.name}" in page.url
    assert metric(page, "Accuracy, last ten") == f"{run.summary()['accuracy']:.4f}"
    assert sum(payload.path.stat().st_size for payload in run.payloads()) == run.summary()["uplink_bytes"]
    points = page.locator(".js-plotly-plot").nth(1).evaluate("plot => plot.calcdata[0].length")
    assert points == len(run.records) == 9
    assert page.evaluate("() => window.stillTheSamePage"), "the page was loaded again"


def test_pause_step_leave_return_stop_resume(server: Server, page: Page, browser: Browser) -> None:
    before = set(server.runs.glob("*")) if server.runs.exists() else set()
    open_lab(page, f"{server.url}/?train_samples=600&test_samples=200&rounds=40&probe_epochs=5")
    button(page, "Run")
    button(page, "Pause")
    paused = page.get_by_text(re.compile(r"Paused after round \d+ of 40"))
    expect(paused).to_be_visible(timeout=PATIENCE)
    (folder,) = set(server.runs.iterdir()) - before
    records = len(read_records(folder))
    button(page, "Step")
    expect(page.get_by_text(f"Paused after round {records} of 40")).to_be_visible(timeout=PATIENCE)
    assert len(read_records(folder)) == records + 1
    button(page, "Go on")
    expect(paused).to_have_count(0, timeout=PATIENCE)

    link = page.url
    page.goto("about:blank")
    seen = len(read_records(folder))
    while len(read_records(folder)) < seen + 2:  # nobody watches, and it goes on
        time.sleep(0.2)

    context = browser.new_context(viewport={"width": 1440, "height": 1600})
    again = context.new_page()
    again.set_default_timeout(PATIENCE)
    open_lab(again, link)
    button(again, "Stop")
    expect(again.get_by_text(re.compile(r"Stopped after round \d+ of 40"))).to_be_visible(timeout=PATIENCE)
    assert json.loads((folder / "status.json").read_text())["state"] == "stopped"
    button(again, "Resume")
    expect(again.get_by_text("Finished: 40 rounds")).to_be_visible(timeout=PATIENCE)
    run = load_run(folder)
    assert [record["round"] for record in run.records] == list(range(41))
    assert metric(again, "Accuracy, last ten") == f"{run.summary()['accuracy']:.4f}"
    context.close()


def test_server_process_holds_no_torch(server: Server, page: Page) -> None:
    open_lab(page, server.url)
    maps = Path(f"/proc/{server.pid}/maps")
    if not maps.exists():
        pytest.skip("/proc is Linux's")
    assert "libtorch" not in maps.read_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_screen_has_no_sideways_scroll(server: Server, browser: Browser, scheme: str) -> None:
    context = browser.new_context(viewport={"width": 420, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    open_lab(page, server.url)
    width = page.evaluate("() => document.querySelector('[data-testid=stMain]').scrollWidth")
    assert width <= 420
    context.close()
