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
    names = page.locator(".js-plotly-plot .legendtext").all_inner_texts()
    assert {"FedPM", "Linear probe"} <= set(names)


def test_round_slider_drives_the_pictures(server: Server, page: Page) -> None:
    open_lab(page, f"{server.url}/?run=fashion")
    page.get_by_role("slider", name="Round", exact=True).focus()
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


def test_run_watch_leave_return_pause_step_stop_resume(server: Server, page: Page, browser: Browser) -> None:
    open_lab(page, server.url)  # the form shows the quick preset
    pressed = time.monotonic()
    button(page, "Run")
    expect(page.get_by_text("Round 0: what the clients sent")).to_be_visible(timeout=PATIENCE)
    print(f"first point after {time.monotonic() - pressed:.1f} s from an empty feature cache")
    (folder,) = server.runs.iterdir()
    assert f"run={folder.name}" in page.url

    expect(page.get_by_text(re.compile(r"Round 2: what the clients sent"))).to_be_visible(timeout=PATIENCE)
    assert page.locator("[data-testid=stImage] img").count() == 5  # keep_payloads = all, 5 clients

    button(page, "Pause")
    expect(page.get_by_text(re.compile("Paused after round"))).to_be_visible(timeout=PATIENCE)
    paused_at = len(read_records(folder))
    button(page, "Step")
    expect(page.get_by_text(f"Paused after round {paused_at} of 8")).to_be_visible(timeout=PATIENCE)
    assert len(read_records(folder)) == paused_at + 1
    button(page, "Go on")

    link = page.url
    page.close()
    seen = len(read_records(folder))
    while len(read_records(folder)) <= seen:  # nobody watches, and it goes on
        time.sleep(0.2)

    context = browser.new_context(viewport={"width": 1440, "height": 1600})
    again = context.new_page()
    again.set_default_timeout(PATIENCE)
    open_lab(again, link)
    button(again, "Stop")
    expect(again.get_by_text(re.compile(r"Stopped after round \d of 8"))).to_be_visible(timeout=PATIENCE)
    assert json.loads((folder / "status.json").read_text())["state"] == "stopped"
    button(again, "Resume")
    expect(again.get_by_text("Finished: 8 rounds")).to_be_visible(timeout=PATIENCE)
    run = load_run(folder)
    assert [record["round"] for record in run.records] == list(range(9))
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
