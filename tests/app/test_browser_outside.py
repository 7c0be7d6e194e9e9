"""The dashboard offers and draws what a package from outside has registered."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from deltamask.plots.palette import look
from tests.support.browsing import Server, open_more, open_page
from tests.support.outside import environment, write_package

pytestmark = pytest.mark.browser
SMALL = ("--image-size", "32", "--clients", "3", "--min-client-samples", "4", "--rounds", "2", "--probe-epochs", "5")


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A dashboard on whose path the package is, with a run of its method on its dataset."""
    package = write_package(tmp_path_factory.mktemp("package"))
    server = Server(tmp_path_factory.mktemp("dashboard"), environment=environment(package))
    command = [sys.executable, "-m", "deltamask.cli", "run", "--method", "toy", "--dataset", "toy", *SMALL]
    out = ["--out", str(server.runs / "toy-run")]
    subprocess.run([*command, *out], check=True, env=server.environment, capture_output=True)
    server.start()
    yield server
    server.stop()


def test_its_method_codec_and_dataset_are_offered_and_its_run_is_drawn(outside: Server, page: Page) -> None:
    open_page(page, f"{outside.url}/?method=toy&codec=toy&dataset=toy&run=toy-run")
    expect(page.get_by_role("combobox", name="Dataset").first).to_have_value("toy")
    for field, group in (("Method", "Method"), ("Codec", "Bits")):
        open_more(page, group)
        expect(page.get_by_role("combobox", name=field).first).to_have_value("toy")
    expect(page.get_by_role("combobox", name="Run in focus")).to_have_value("Toy · toy-run")
    drawn = page.locator(".st-key-bits_curve .js-plotly-plot").evaluate(
        "plot => plot._fullData.filter(trace => trace.name.startsWith('Toy')).map(trace => trace.line.color)"
    )
    taken = {look(name)[0] for name in ("deltamask", "fedpm", "deepreduce", "linear-probe")}
    assert drawn
    assert drawn[0].startswith("#")
    assert drawn[0] not in taken
