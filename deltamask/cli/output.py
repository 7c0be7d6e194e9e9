"""What the commands print: for people on stderr, or JSON for programs on stdout."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from deltamask.base.paths import expanded
from deltamask.base.progress import NOTE
from deltamask.cli.console import console
from deltamask.config.run_config import UNPRINTABLE
from deltamask.runs.figures import LAST, OWN, covers_all_clients, last, own_metrics
from deltamask.runs.reader import Run

RunName = Annotated[str, tyro.conf.Positional]
Place = Annotated[
    Path,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1, metavar="PATH", instance_from_str=lambda words: expanded(words[0]),
        is_instance=lambda value: isinstance(value, Path), str_from_instance=lambda path: [str(path)],
    ),
]  # fmt: skip
Json = Annotated[bool, tyro.conf.arg(help="Print JSON for programs instead of text for people.")]

people = console(stderr=True)


class Count(ProgressColumn):
    """How many of how many, where that is known."""

    def render(self, task: Task) -> Text:
        return Text("" if task.total is None else f"{task.completed:.0f}/{task.total:.0f}")


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """show(what, done, total): a bar on a terminal, elsewhere a line for each thing that is begun. Notes stay."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        Count(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=people, transient=True, disable=not people.is_terminal) as bars:
        bar = bars.add_task("starting", total=None)
        last = ""

        def show(what: str, done: int, total: int) -> None:
            nonlocal last
            if what.startswith(NOTE):
                people.print(what)
                return
            if what != last:
                bars.reset(bar, description=what, total=total)
                last = what
                if not people.is_terminal and not what.startswith("round"):
                    people.print(what)
            bars.update(bar, completed=done)

        yield show


def print_summary(stored: Run, console: Console) -> None:
    summary = stored.summary()
    rounds = summary["rounds"]
    console.print(
        f"{rounds} round{'' if rounds == 1 else 's'}: accuracy {figure_text(summary['accuracy'])} "
        f"({_averaged(rounds)}), for its worst {'' if covers_all_clients(stored.records) else 'sampled '}client "
        f"{figure_text(summary['worst_client'])}, "
        f"uplink {figure_text(summary['bpp_up'])} bpp a round, {figure_text(summary['bpp_up_total'])} in all with the "
        f"head, {summary['uplink_bytes']:,} bytes"
    )
    for name in own_metrics(stored.rounds):
        value = last(LAST, f"{OWN}{name}")(stored.rounds)
        console.print(f"{plain_text(name)}: {figure_text(value)} ({_averaged(rounds)})")
    spent = stored.records[-1].get("epsilon") if stored.records else None
    if spent is not None:
        epsilon, delta = stored.config.dp_epsilon, stored.config.dp_delta
        whose = {"samples": "training sample", "clients": "client"}[stored.config.dp]
        console.print(f"privacy of each {whose}: ε {spent:.2f} spent of {epsilon:g}, at δ {delta:g}")
    if skipped := stored.task.get("skipped"):
        console.print(
            f"{len(skipped)} images could not be read and were left out, {plain_text(skipped[0])} first; task.json "
            "lists them"
        )  # fmt: skip


def _averaged(rounds: int) -> str:
    """Over which rounds a run's accuracy is a mean, in words."""
    if rounds == 0:
        return "of the head alone"
    return "of that round" if rounds == 1 else f"mean of the last {min(rounds, LAST)}"


def plain_text(text: object) -> str:
    """A text from a run folder, for the terminal: its control characters do nothing there."""
    return UNPRINTABLE.sub("�", str(text))


def figure_text(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.4f}"


def print_json(value: Any) -> int:
    print(json.dumps(value, indent=1, allow_nan=False))
    return 0


def complain(status: int, *lines: str) -> int:
    """Print what is wrong, a line each; returns the exit status."""
    for line in lines:
        shown = "\n".join(UNPRINTABLE.sub("�", part) for part in line.split("\n"))
        people.print(f"deltamask: {shown}", style="red")
    return status
