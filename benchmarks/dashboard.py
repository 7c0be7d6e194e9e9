"""How fast the dashboard answers: `python benchmarks/dashboard.py > benchmarks/results/dashboard.json`

Fills a store with 200 runs of 100 rounds, made of the recorded runs' own rounds, opens the pages in headless Chromium
and times what a visitor waits for, with the processor time that the server spent on it: that says what it takes on a
machine that is busy otherwise. `--soak 300` then watches a run that grows by four rounds a second for 300 s, and
samples the server's memory and the page's heap. `--quick` asks only whether it runs.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import tyro
from playwright.sync_api import Page
from visitor import dashboard, visiting

from deltamask.base.paths import recorded_dir
from deltamask.runs.folder import RunFolder, write_json
from deltamask.runs.reader import list_runs, load_run

ROOT = Path(__file__).resolve().parent.parent
RUNS, ROUNDS, TRIES = 200, 100, 9
WAIT = 60_000  # ms
SETTLED = "[data-testid=stApp][data-test-script-state=notRunning]"
SHIFTS = """window.shifted = 0; new PerformanceObserver((list) => {
    for (const shift of list.getEntries()) if (!shift.hadRecentInput) window.shifted += shift.value
}).observe({type: "layout-shift", buffered: true})"""
PLAY = """(button) => new Promise((done) => {
    const shown = button.getRootNode().querySelector("output"), times = []
    const watch = new MutationObserver(() => {
        times.push(performance.now())
        if (button.textContent === "Play") done(times)
    })
    watch.observe(button.getRootNode(), {subtree: true, childList: true, characterData: true})
    button.click()
})"""


def fill(store: Path, runs: int, rounds: int) -> None:
    """Copies of recorded runs, each with a seed of its own and its rounds repeated up to `rounds`."""
    recorded = list_runs(recorded_dir())
    for index in range(runs):
        source = recorded[index % len(recorded)]
        folder = store / f"{source.id}-{index:03d}"
        folder.mkdir(parents=True)
        config = {**source.config.model_dump(), "seed": index, "rounds": rounds}
        created = f"2024-01-01T{index // 60:02d}:{index % 60:02d}:00+00:00"
        write_json(folder / "config.json", {"config": config, "created": created})
        shutil.copy(source.path / "task.json", folder / "task.json")
        write_json(folder / "status.json", {"state": "finished", "round": rounds})
        with open(folder / "rounds.jsonl", "w") as file:
            for round in range(rounds + 1):
                file.write(json.dumps(record_of(source, round)) + "\n")
        (folder / "payloads").mkdir()
        for payload in source.payloads():
            (folder / "payloads" / payload.name).write_bytes(payload.read())


def record_of(source: Any, round: int) -> dict[str, Any]:
    """A recorded round under another number."""
    after = source.records[1:]
    return {**(source.records[0] if round == 0 else after[(round - 1) % len(after)]), "round": round}


def timed(act: Callable[[], object], page: Page, condition: str) -> float:
    """Seconds from an action to the page's saying so, as the browser sees it."""
    begun = time.perf_counter()
    act()
    page.wait_for_function(condition, timeout=WAIT, polling="raf")
    return time.perf_counter() - begun


def quiet(page: Page) -> None:
    page.wait_for_selector(SETTLED, timeout=WAIT)
    page.wait_for_timeout(400)


def first_paint(page: Page, url: str) -> float:
    """From asking for the address to the first chart with points."""
    drawn = "() => document.querySelector('.js-plotly-plot .scatterlayer .trace, .js-plotly-plot .bars')"
    return timed(lambda: page.goto(url, wait_until="commit"), page, drawn)


def played(page: Page) -> dict[str, float]:
    """A run's rounds, played: how many a second, and the longest that one stood, in ms."""
    times = page.get_by_role("button", name="Play", exact=True).evaluate(PLAY)
    gaps = [after - before for before, after in pairwise(times)]
    return {"rounds_a_second": round(1000 / statistics.median(gaps), 1), "longest_ms": round(max(gaps))}


def controls(page: Page, url: str, tries: int, server: psutil.Process) -> dict[str, list[tuple[float, float]]]:
    """Each control turned several times: (seconds until the last thing that it changes has changed, the server's
    processor seconds)."""
    rounds = int(load_run("fashion").records[-1]["round"])
    page.goto(
        f"{url}/?round={rounds}&run=fashion&compare=fashion,fashion-paper,fashion-gap,fashion-unbiased,fashion-fedpm"
    )
    page.wait_for_selector(".js-plotly-plot", timeout=WAIT)
    quiet(page)
    taken: dict[str, list[tuple[float, float]]] = {}

    def turn(name: str, act: Callable[[], None], condition: str) -> None:
        before = _processor_seconds(server)
        seconds = timed(act, page, condition)
        quiet(page)
        taken.setdefault(name, []).append((seconds, _processor_seconds(server) - before))

    def press(slider: str, key: str) -> Callable[[], None]:
        page.get_by_role("slider", name=slider).focus()
        return lambda: page.keyboard.press(key)

    more = page.get_by_test_id("stExpander").filter(has_text="More: method")
    more.locator("summary").click()
    more.get_by_role("tab", name="Clients", exact=True).click()
    quiet(page)
    for step in range(1, tries + 1):
        value, last, odd = f"{1 - step / 100:.2f}".rstrip("0"), rounds - step, step % 2
        in_address = "() => location.search.includes('{}={}')"
        turn("κ", press("κ, share of flips sent", "ArrowLeft"), in_address.format("kappa", value))
        turn("ρ", press("Participation ρ", "ArrowLeft"), in_address.format("rho", value))
        split = page.locator(".split").inner_text()
        turn(
            "α, with the label split", press("Dirichlet α", "ArrowLeft" if odd else "ArrowRight"),
            f"() => document.querySelector('.split').innerText != {json.dumps(split)}",
        )  # fmt: skip
        turn(
            "round, every panel", press("Round", "ArrowLeft"),
            f"() => document.body.innerText.includes('Round {last}: what') && "
            "[...document.querySelectorAll('.js-plotly-plot')].filter(plot => (plot.layout.shapes || [])"
            f".some(shape => shape.x0 == {last})).length == 2",
        )  # fmt: skip
        way, words = ("Downlink", "downlink") if odd else ("Uplink", "uplink")
        turn(
            "bits up or down", page.get_by_role("radio", name=way).click,
            "() => [...document.querySelectorAll('.js-plotly-plot .xtitle')].some(title => "
            f"title.textContent.startsWith('{words} so far'))",
        )  # fmt: skip
    return taken


def watch_growing(page: Page, url: str, store: Path, server: psutil.Process, seconds: int) -> list[dict[str, float]]:
    """A page open on a run that grows; one sample every tenth of the time."""
    source = next(run for run in list_runs(recorded_dir()) if run.config.method == "deltamask")
    rounds = 4 * seconds + 100
    folder = RunFolder.create(store / "soak", source.config.replace(rounds=min(10_000, rounds), seed=999))
    shutil.copy(source.path / "task.json", folder.path / "task.json")
    folder.append(record_of(source, 0))
    progress = {"what": "round 1", "done": 0, "total": 5}
    folder.write_status(state="running", round=0, progress=progress)
    page.goto(f"{url}/?run=soak")
    page.wait_for_selector(".js-plotly-plot", timeout=WAIT)
    session = page.context.new_cdp_session(page)
    samples: list[dict[str, float]] = []
    begun, at = time.monotonic(), 0
    while (passed := time.monotonic() - begun) < seconds:
        at += 1
        folder.append(record_of(source, at))
        folder.write_status(state="running", round=at, progress=progress)
        if passed >= len(samples) * seconds / 10:
            session.send("HeapProfiler.collectGarbage")
            heap = session.send("Runtime.getHeapUsage")["usedSize"] / 1e6
            rss = server.memory_info().rss / 1e6
            samples.append(
                {"s": round(passed, 1), "round": at, "server_mb": round(rss, 1), "page_heap_mb": round(heap, 1)}
            )
            print(samples[-1], file=sys.stderr, flush=True)
        page.wait_for_timeout(250)
    folder.write_status(state="stopped", round=at)
    return samples


def measure(page: Page, url: str, server: psutil.Process, tries: int) -> dict[str, Any]:
    """First paint, the next, and every control."""
    page.add_init_script(SHIFTS)
    before, begun = _processor_seconds(server), time.perf_counter()
    report: dict[str, Any] = {"first_paint_s": round(first_paint(page, url), 2)}
    page.wait_for_selector(SETTLED, timeout=WAIT)
    report["settled_s"] = round(time.perf_counter() - begun, 2)
    report["first_paint_server_cpu_s"] = round(_processor_seconds(server) - before, 2)
    page.wait_for_timeout(6000)  # what is learnt for predictions has come by then
    report["layout_shift"] = round(page.evaluate("() => window.shifted"), 3)
    report["next_paint_s"] = round(first_paint(page, f"{url}/?again=1"), 2)
    report["load_average"] = round(os.getloadavg()[0], 1)
    report["controls_ms"] = {
        name: {
            "median": round(1000 * statistics.median(wall for wall, _ in times)),
            "worst": round(1000 * max(wall for wall, _ in times)),
            "server_cpu": round(1000 * statistics.median(cpu for _, cpu in times)),
        }
        for name, times in controls(page, url, tries, server).items()
    }
    report["play"] = played(page)
    report["server_mb"] = round(server.memory_info().rss / 1e6, 1)
    return report


def _processor_seconds(server: psutil.Process) -> float:
    times = server.cpu_times()
    return float(times.user + times.system)


def main(runs: int = RUNS, rounds: int = ROUNDS, tries: int = TRIES, soak: int = 0, quick: bool = False) -> None:
    """Measure, and print JSON.

    Args:
        runs: in the store.
        rounds: of each run.
        tries: how often each control is turned.
        soak: seconds for which a growing run is watched.
        quick: three runs of five rounds, one turn of each control.
    """
    if quick:
        runs, rounds, tries = 3, 5, 1
    # In the repository, so that recorded payloads can be linked instead of copied.
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".bench-") as place:
        store = Path(place)
        fill(store, runs, rounds)
        begun = time.perf_counter()
        with dashboard(store) as (process, url):
            report: dict[str, Any] = {
                "runs": runs,
                "rounds": rounds,
                "server_up_s": round(time.perf_counter() - begun, 2),
            }
            server = psutil.Process(process.pid)
            with visiting(height=1600) as page:
                report |= measure(page, url, server, tries)
                if soak:
                    report["soak"] = watch_growing(page, url, store, server, soak)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    tyro.cli(main)
