"""A dashboard of its own, and headless Chromium that visits it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from deltamask.cli.app import running


@contextmanager
def visiting(width: int = 1440, height: int = 1000) -> Iterator[Page]:
    """A page of Chromium ($CHROMIUM, or the one on the path), for as long as the block lasts."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser.new_page(viewport={"width": width, "height": height})
        browser.close()


@contextmanager
def dashboard(runs: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A dashboard over the folder `runs`, which prints nothing: (process, address)."""
    environment = {"DELTAMASK_RUNS": str(runs.absolute())}
    with running(environment=environment, output=subprocess.DEVNULL) as started:
        yield started
