"""The Lab's clients, all of them: what the page shows of each, joined and alone, is what the record holds."""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from deltamask.runs import figures
from deltamask.runs.folder import RunFolder, write_json
from deltamask.runs.reader import Run, load_run
from tests.support.browsing import Server, button, open_more, open_page, points, settle
from tests.support.records import TASK, record

pytestmark = pytest.mark.browser
ALONE = [0.4, 0.4, 0.9, 0.5, 0.6]
JOINED = [[0.5, 0.3, 0.6, 0.5, 0.7], [0.6, 0.35, 0.8, 0.45, 0.75], [0.7, 0.3, 0.85, 0.55, 0.8]]
COUNTS = [[8, 2], [1, 9], [20, 0], [5, 5], [40, 30]]


@pytest.fixture(scope="module")
def stored(server: Server) -> Iterator[Run]:
    """Five clients, three rounds, of which only the last record is known when the page is opened; and an older run."""
    config = load_run("fashion").config.replace(rounds=2, clients=5)
    folder = RunFolder.create(server.runs / "five-clients", config.replace(compare_alone=True))
    write_json(folder.path / "task.json", {**TASK, "label_counts": COUNTS})
    for round, joined in enumerate(JOINED):
        adapted = [min(1.0, value + 0.05) for value in joined]
        folder.append(
            record(
                round,
                client_accuracy=joined,
                client_accuracy_adapted=adapted,
                alone=None if round else ALONE,
                kept_by_layer=None,
            )
        )
    folder.write_status(state="finished", round=2, rounds=2)
    without = RunFolder.create(server.runs / "not-compared", config)
    write_json(without.path / "task.json", {**TASK, "label_counts": COUNTS})
    without.append(record(0, client_accuracy=JOINED[0], client_accuracy_adapted=JOINED[1], kept_by_layer=None))
    without.write_status(state="stopped", round=0, rounds=2)
    yield load_run(folder.path)
    for name in ("five-clients", "not-compared"):
        shutil.rmtree(server.runs / name)


def open_clients(page: Page, url: str) -> None:
    open_page(page, url)
    page.get_by_role("tab", name="Clients").click()
    settle(page)


def test_each_client_joined_and_alone_is_as_recorded(server: Server, page: Page, stored: Run) -> None:
    open_clients(page, f"{server.url}/?run=five-clients&round=2")
    expect(page.get_by_text("2 of 5 clients are better off alone")).to_be_visible()
    expect(page.get_by_text("with their own label shares added, 1 of 5")).to_be_visible()
    last = stored.records[2]
    curves = {curve["name"]: curve for curve in points(page, "joined_or_alone")}
    for name, values in (
        ("joined", last["client_accuracy"]),
        ("joined, own label shares added", last["client_accuracy_adapted"]),
        ("alone", stored.records[0]["alone"]),
    ):
        assert curves[name]["y"] == values
        assert curves[name]["x"] == [3, 1, 5, 2, 4]  # ranks, worst first

    page.get_by_role("radio", name="Samples").click()
    settle(page)
    assert points(page, "joined_or_alone")[0]["x"] == np.sum(COUNTS, axis=1).tolist()
    page.get_by_role("radio", name="Unlikeness").click()
    page.wait_for_function("() => location.search.includes('against=unlikeness')")
    settle(page)
    assert points(page, "joined_or_alone")[0]["x"] == pytest.approx(figures.unlikeness(COUNTS).tolist())

    page.locator(".st-key-open_joined_or_alone button").click()
    with page.expect_download() as waiting:
        button(page, "CSV")
    rows = list(csv.DictReader(io.StringIO(Path(waiting.value.path()).read_text())))
    alone = {row["client"]: float(row["accuracy for the client"]) for row in rows if row["curve"] == "alone"}
    assert alone == {str(client): value for client, value in enumerate(ALONE)}

    (bars,) = points(page, "class_accuracy")
    assert (bars["x"], bars["y"][0]) == (TASK["classes"], last["class_accuracy"][0])


def test_an_earlier_round_is_compared_with_the_same_models_alone(server: Server, page: Page, stored: Run) -> None:
    open_clients(page, f"{server.url}/?run=five-clients&round=0&against=samples")
    expect(page.get_by_text("2 of 5 clients are better off alone")).to_be_visible()
    curves = {curve["name"]: curve["y"] for curve in points(page, "joined_or_alone")}
    assert (curves["joined"], curves["alone"]) == (stored.records[0]["client_accuracy"], ALONE)


def test_a_run_that_was_not_compared_says_how_to(server: Server, page: Page, stored: Run) -> None:
    open_clients(page, f"{server.url}/?run=not-compared&against=sideways")
    expect(page.get_by_text("Who gains by joining is known of runs with Compare with going alone")).to_be_visible()
    expect(page.get_by_text("against = 'sideways' is none of sorted, samples, unlikeness")).to_be_visible()
    assert [curve["name"] for curve in points(page, "joined_or_alone")] == ["joined", "joined, own label shares added"]


def test_a_run_is_compared_live(server: Server, page: Page) -> None:
    """Started in the form; the switch is in the address, and what the page says is what the run's file says."""
    small = "train_samples=300&test_samples=100&probe_epochs=2&clients=4&rounds=2&dirichlet_alpha=0.1"
    before = set(server.runs.iterdir()) if server.runs.exists() else set()
    open_page(page, f"{server.url}/?{small}")
    open_more(page, "Clients")
    page.get_by_text("Compare with going alone").click()
    page.wait_for_function("() => location.search.includes('compare_alone=True')")
    button(page, "Run")
    expect(page.get_by_text("Finished: 2 rounds")).to_be_visible()
    page.get_by_role("tab", name="Clients").last.click()  # the panel's; the form has one as well
    expect(page.get_by_text(re.compile("of 4 clients are better off alone"))).to_be_visible()
    settle(page)
    (folder,) = [path for path in set(server.runs.iterdir()) - before if (path / "config.json").exists()]
    run = load_run(folder)
    assert run.config.compare_alone
    curves = {curve["name"]: curve["y"] for curve in points(page, "joined_or_alone")}
    assert curves["alone"] == run.records[0]["alone"]
    assert curves["joined"] == run.records[2]["client_accuracy"]
    worse = sum(a > j for j, a in zip(run.records[2]["client_accuracy"], run.records[0]["alone"], strict=True))
    expect(page.get_by_text(f"{worse} of 4 clients are better off alone")).to_be_visible()
