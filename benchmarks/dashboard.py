"""How fast the dashboard answers: `python benchmarks/dashboard.py > benchmarks/results/dashboard.json`

Fills a store with 200 runs of 100 rounds, made of the recorded runs' own rounds, opens the pages in headless Chromium
and times what a visitor waits for, with the processor time that the server spent on it: that says what it takes on a
machine that is busy otherwise. `--soak 300` then watches a run that grows by four rounds a second for 300 s, and
samples the server's memory and the page's heap.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Page, sync_playwright

from deltamask.base.paths import recorded_dir
from deltamask.runs.folder import RunFolder, write_json
from deltamask.runs.reader import list_runs, load_run

ROOT = Path(__file__).resolve().parent.parent
RUNS, ROUNDS, TRIES = 200, 100, 9
WAIT = 60_000  # ms


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
            os.link(payload.path, folder / "payloads" / payload.path.name)


def record_of(source: Any, round: int) -> dict[str, Any]:
    """A recorded round under another number."""
    after = source.records[1:]
    return {**(source.records[0] if round == 0 else after[(round - 1) % len(after)]), "round": round}


def start_server(store: Path) -> tuple[subprocess.Popen[bytes], str, float]:
    """(process, address, seconds until it answers)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    begun = time.perf_counter()
    environment = {**os.environ, "DELTAMASK_RUNS": str(store)}
    command = [sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while True:
        try:
            urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=1).close()
            return server, f"http://localhost:{port}", time.perf_counter() - begun
        except OSError:
            time.sleep(0.05)


def timed(act: Callable[[], None], page: Page, condition: str) -> float:
    """Seconds from an action to the page's saying so, as the browser sees it."""
    begun = time.perf_counter()
    act()
    page.wait_for_function(condition, timeout=WAIT, polling="raf")
    return time.perf_counter() - begun


def quiet(page: Page) -> None:
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=WAIT)
    page.wait_for_timeout(400)


def first_paint(page: Page, url: str) -> float:
    """From asking for the address to the first chart with points."""
    drawn = "() => document.querySelector('.js-plotly-plot .scatterlayer .trace, .js-plotly-plot .bars')"
    return timed(lambda: page.goto(url, wait_until="commit") and None, page, drawn)  # type: ignore[func-returns-value]


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
        before = sum(server.cpu_times()[:2])
        seconds = timed(act, page, condition)
        quiet(page)
        taken.setdefault(name, []).append((seconds, sum(server.cpu_times()[:2]) - before))

    def press(slider: str, key: str) -> Callable[[], None]:
        page.get_by_role("slider", name=slider).focus()
        return lambda: page.keyboard.press(key)

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


def soak(page: Page, url: str, store: Path, server: psutil.Process, seconds: int) -> list[dict[str, float]]:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--tries", type=int, default=TRIES)
    parser.add_argument("--soak", type=int, default=0, help="seconds")
    options = parser.parse_args()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory(dir=ROOT) as place, sync_playwright() as playwright:
        store = Path(place) / "runs"
        fill(store, options.runs, options.rounds)
        process, url, up = start_server(store)
        server = psutil.Process(process.pid)
        report: dict[str, Any] = {"runs": options.runs, "rounds": options.rounds, "server_up_s": round(up, 2)}
        try:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_context(viewport={"width": 1440, "height": 1600}).new_page()
            before = sum(server.cpu_times()[:2])
            report["first_paint_s"] = round(first_paint(page, url), 2)
            report["first_paint_server_cpu_s"] = round(sum(server.cpu_times()[:2]) - before, 2)
            report["next_paint_s"] = round(first_paint(page, f"{url}/?again=1"), 2)
            report["load_average"] = round(os.getloadavg()[0], 1)
            report["controls_ms"] = {
                name: {
                    "median": round(1000 * statistics.median(wall for wall, _ in times)),
                    "worst": round(1000 * max(wall for wall, _ in times)),
                    "server_cpu": round(1000 * statistics.median(cpu for _, cpu in times)),
                }
                for name, times in controls(page, url, options.tries, server).items()
            }
            report["server_mb"] = round(server.memory_info().rss / 1e6, 1)
            if options.soak:
                report["soak"] = soak(page, url, store, server, options.soak)
            browser.close()
        finally:
            process.terminate()
            process.wait(10)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
