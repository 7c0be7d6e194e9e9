"""Pictures of the dashboard's pages, those that the documents show, into docs/: `python -m scripts.screenshots`

    python -m scripts.screenshots --all --out shots         # every page, light and dark, wide and narrow
    python -m scripts.screenshots --query round=20          # with parameters in the page's address

Starts a dashboard of its own over the recorded runs, and needs Chromium (`apt-get install chromium`, or CHROMIUM).
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Literal, NamedTuple

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from deltamask.cli.app import running
from tests.support.browsing import FLAGS, PATIENCE, settle

ROOT = Path(__file__).resolve().parent.parent
PAGES = {"lab": "", "compare": "compare", "wire": "wire", "privacy": "privacy", "learn": "learn"}  # by address
WIDTHS = {"": 1440, "-narrow": 420}
TALLEST = {"": 2400, "-narrow": 5200}
# Nothing is still to come: no part of the page, and no prediction.
READY = """() => !document.querySelector('[data-testid=stSkeleton]')
    && !document.body.innerText.includes('as soon as this page has read')"""
COLORS = 256  # a palette is enough for flat surfaces, and takes a third of the bytes


class Shot(NamedTuple):
    """One picture of a page. scheme: light or dark. width: a key of `WIDTHS`."""

    page: str
    scheme: Literal["light", "dark"]
    width: str

    @property
    def file(self) -> str:
        return f"{self.page}-{self.scheme}{self.width}.png"


SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
EVERY = [Shot(page, scheme, width) for page in PAGES for scheme in SCHEMES for width in WIDTHS]


def shown() -> list[Shot]:
    """The pictures of pages that README.md, CONTRIBUTING.md and the documents in docs/ show."""
    texts = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    linked = {Path(link).name for text in texts for link in re.findall(r"!\[[^\]]*\]\(([^)\s]+)", text.read_text())}
    return [shot for shot in EVERY if shot.file in linked]


def take(page: Page, target: Path, width: int, tallest: int) -> None:
    """One picture of the whole page, as a PNG with a palette."""
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_timeout(500)
    for _ in range(2):  # charts change their height with the width of the page
        height = page.evaluate("() => document.querySelector('[data-testid=stMain]').scrollHeight")
        page.set_viewport_size({"width": width, "height": min(int(height) + 20, tallest)})
        page.wait_for_timeout(700)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(COLORS, kmeans=2, dither=Image.Dither.NONE).save(target, optimize=True)
    print(f"{target}: {target.stat().st_size:,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    parser.add_argument("--all", action="store_true", help="every page, not only what documents show")
    parser.add_argument("--only", nargs="*", choices=list(PAGES), default=list(PAGES), help="these pages")
    parser.add_argument("--query", default="", help="address parameters, e.g. round=20")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with (
        tempfile.TemporaryDirectory() as runs,
        running(environment={"DELTAMASK_RUNS": runs}) as (_, url),
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        for shot in EVERY if options.all else shown():
            if shot.page in options.only:
                context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme=shot.scheme)
                page = context.new_page()
                page.goto(f"{url}/{PAGES[shot.page]}?{options.query}")
                page.get_by_test_id("stMain").wait_for()
                settle(page)
                page.wait_for_function(READY, timeout=PATIENCE)
                take(page, options.out / shot.file, WIDTHS[shot.width], TALLEST[shot.width])
                context.close()
        browser.close()


if __name__ == "__main__":
    main()
