"""A real dashboard and a real browser for tests; `conftest.py` makes its fixtures known to all of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deltamask.cli.app import command, free_port
from deltamask.runs.folder import RunFolder

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = int(120_000 * float(os.environ.get("DELTAMASK_PATIENCE", "1")))  # ms; on a busy machine: a larger factor
# Headless Chromium without its own background traffic.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip


@dataclass
class Server:
    """The dashboard on a free port, with a runs folder and a feature cache of its own."""

    home: Path
    port: int = field(default_factory=free_port)
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def runs(self) -> Path:
        return self.home / "runs"

    def start(self) -> None:
        environment = {
            **self.environment, "DELTAMASK_RUNS": str(self.runs), "DELTAMASK_CACHE": str(self.home / "cache"),
            "HF_HUB_CACHE": str(self.home / "hub"),
        }  # fmt: skip
        self.process = subprocess.Popen(command(self.port), cwd=ROOT, env=environment)
        for _ in range(5 * PATIENCE // 1000):
            try:
                urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=1).close()
                return
            except OSError:
                assert self.process.poll() is None, "the server ended at once"
                time.sleep(0.2)
        raise TimeoutError("the server does not answer")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One dashboard for all tests that drive a browser."""
    server = Server(tmp_path_factory.mktemp("dashboard"))
    server.start()
    try:
        yield server
    finally:
        server.stop()
        for folder in server.runs.glob("*/status.json"):  # whatever a failed test left behind
            RunFolder(folder.parent).ask("stop")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "no Chromium: `apt-get install chromium`, or set CHROMIUM to one"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def visitor(browser: Browser) -> Iterator[BrowserContext]:
    """One browser profile for all tests: reading Streamlit's and Plotly's scripts anew is half of a first page."""
    context = new_visitor(browser)
    yield context
    context.close()


@pytest.fixture
def page(visitor: BrowserContext, server: Server) -> Iterator[Page]:
    """A visitor of whom the dashboard knows nothing."""
    page = visitor.new_page()
    yield page
    for each in visitor.pages:
        assert each.get_by_test_id("stException").count() == 0
        if each.url.startswith(server.url):
            each.evaluate("() => { localStorage.clear(); sessionStorage.clear() }")
        each.close()
    visitor.clear_cookies()


def new_visitor(browser: Browser, **options: object) -> BrowserContext:
    """A visitor with a browser profile of their own."""
    context = browser.new_context(**{"viewport": {"width": 1440, "height": 1600}, **options})  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE)
    return context


def settle(page: Page) -> None:
    """Wait until the page's script has run to its end, and has not begun again at once."""
    for _ in range(2):
        page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=PATIENCE)
        page.wait_for_timeout(300)


def open_page(page: Page, url: str) -> None:
    """Open an address, and wait for its first chart and for the script to end."""
    page.goto(url)
    page.locator(".js-plotly-plot").first.wait_for(timeout=PATIENCE)
    settle(page)


def metric(page: Page, name: str) -> str:
    """The value that a metric shows."""
    box = page.get_by_test_id("stMetric").filter(has_text=name)
    return box.get_by_test_id("stMetricValue").inner_text()


def button(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def play_to(page: Page, round: int) -> None:
    """Press Play, and Pause as soon as this round is shown, without the way to the browser between the two."""
    page.get_by_role("button", name="Play", exact=True).evaluate(
        """(button, round) => new Promise((done) => {
            const shown = button.getRootNode().querySelector("output")
            const look = () => Number(shown.textContent) >= round ? done(button.click()) : requestAnimationFrame(look)
            button.click()
            look()
        })""",
        round,
    )


def points(page: Page, chart: str) -> list[dict[str, list[float]]]:
    """x and y of each curve of a chart, by the chart's key, as the browser holds them."""
    return page.locator(f".st-key-{chart} .js-plotly-plot").evaluate(
        "plot => plot._fullData.map(trace => ({name: trace.name, x: Array.from(trace.x), y: Array.from(trace.y)}))"
    )


def open_more(page: Page, group: str) -> None:
    """Open the Lab's form at one of its groups."""
    more = page.get_by_test_id("stExpander").filter(has_text="More: method, clients, training")
    opened = more.get_by_role("tab", name=group, exact=True)  # the panels below have tabs of the same names
    if not opened.is_visible():
        more.locator("summary").click()
    opened.click()


def line_names(page: Page) -> list[str]:
    """What stands at the lines' ends in the chart against rounds, each on one line."""
    parts = (
        "each => [...each.querySelectorAll('tspan.line')].map(line => line.textContent).join(' ') || each.textContent"
    )
    names: list[str] = page.locator(".st-key-rounds_curve .annotation-text").evaluate_all(f"all => all.map({parts})")
    return names
