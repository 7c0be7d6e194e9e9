"""Runs as things one owns: settings taken over, renamed, thrown away and taken back; and names with commas."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from deltamask.runs.reader import Run, load_run
from tests.support.browsing import Server, button, line_names, open_page, settle
from tests.support.records import finished_run

pytestmark = pytest.mark.browser
COMMA = "one, two"


@pytest.fixture
def stored(server: Server) -> Iterator[Run]:
    yield finished_run(server.runs / COMMA, kappa=0.35, dirichlet_alpha=0.3)
    for name in (COMMA, "renamed", ".discarded"):
        shutil.rmtree(server.runs / name, ignore_errors=True)


def open_menu(page: Page) -> None:
    """Unless it is open."""
    settle(page)
    if not page.get_by_role("button", name="Take over its settings").is_visible():
        page.locator(".st-key-manage_run button").first.click()
        settle(page)


def test_a_run_is_taken_over_renamed_deleted_and_taken_back(server: Server, page: Page, stored: Run) -> None:
    open_page(page, f"{server.url}/?run={COMMA}")
    open_menu(page)
    button(page, "Take over its settings")
    page.wait_for_function("() => location.search.includes('kappa=0.35')")
    expect(page.get_by_role("slider", name="κ, share of flips sent")).to_have_value("0.35")
    open_menu(page)
    page.get_by_role("textbox", name="Name", exact=True).fill("renamed")
    button(page, "Rename")
    page.wait_for_function("() => location.search.includes('run=renamed')")
    assert (server.runs / "renamed" / "config.json").exists()
    settle(page)
    open_menu(page)
    button(page, "Delete")
    expect(page.get_by_text("renamed was deleted.")).to_be_visible()
    assert not (server.runs / "renamed").exists()
    button(page, "Undo")
    page.wait_for_function("() => location.search.includes('run=renamed')")
    assert (server.runs / "renamed" / "config.json").exists()


def test_a_star_and_a_note_are_kept_and_shown(server: Server, page: Page, stored: Run) -> None:
    note = "<b>good</b> *but* slow"
    open_page(page, f"{server.url}/?run={COMMA}")
    open_menu(page)
    page.get_by_text("Star: first in the list").click()
    page.get_by_role("textbox", name="Note").fill(note)
    button(page, "Save star and note")
    expect(page.get_by_test_id("stCaptionContainer").get_by_text(note)).to_be_visible()  # as it was typed
    expect(page.get_by_role("combobox", name="Run in focus")).to_have_value(re.compile("^★ "))
    mark = load_run(stored.path).mark
    assert (mark.star, mark.note) == (True, note)
    open_page(page, server.url)
    page.get_by_role("combobox", name="Run in focus").click()
    expect(page.get_by_role("option").first).to_contain_text("★")


def test_a_recorded_run_keeps_its_name_and_place(server: Server, page: Page) -> None:
    open_page(page, server.url)
    open_menu(page)
    expect(page.get_by_text("it comes with the repository")).to_be_visible()
    expect(page.get_by_role("button", name="Delete", exact=True)).to_have_count(0)


def test_names_with_commas_survive_the_link_and_other_tasks_are_not_ranked(
    server: Server, page: Page, stored: Run
) -> None:
    open_page(page, f"{server.url}/compare?runs=fashion,one\\, two,fashion-fedpm")
    expect(page.get_by_text("Not one task")).to_be_visible()
    (runs,) = parse_qs(urlsplit(page.url).query)["runs"]
    assert runs == "fashion,one\\, two,fashion-fedpm"
    assert sum("other task" in name for name in line_names(page)) == 1
    front = page.locator(".st-key-pareto .js-plotly-plot").evaluate("plot => plot._fullData.map(each => each.name)")
    assert not any("other task" in (name or "") for name in front)
    page.get_by_text("A chart for each task").click()
    expect(page.locator("[class*=st-key-rounds_curve_] .js-plotly-plot")).to_have_count(2)
