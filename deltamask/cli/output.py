"""What the commands print: for people on stderr, or JSON for programs on stdout."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from deltamask.base.paths import expanded
from deltamask.base.progress import NOTE
from deltamask.config.run_config import UNPRINTABLE
from deltamask.runs.figures import covers_all_clients
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

people = Console(stderr=True)


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """show(what, done, total): a bar on a terminal, elsewhere a line for each thing that is begun. Notes stay."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=people, transient=True, disable=not people.is_terminal) as bars:
        bar = bars.add_task("starting", total=None)
        last = ""

        def show(what: str, done: int, total: int) -> None:
            nonlocal last
            if what.startswith(NOTE):
                people.print(what, highlight=False, markup=False, soft_wrap=True)
                return
            if what != last:
                bars.reset(bar, description=what, total=total)
                last = what
                if not people.is_terminal and not what.startswith("round"):
                    people.print(what, highlight=False, markup=False, soft_wrap=True)
            bars.update(bar, completed=done)

        yield show


def print_summary(stored: Run, console: Console) -> None:
    summary = stored.summary()
    console.print(
        f"{summary['rounds']} rounds: accuracy {figure_text(summary['accuracy'])} (mean of the last ten), "
        f"for its worst {'' if covers_all_clients(stored.records) else 'sampled '}client "
        f"{figure_text(summary['worst_client'])}, "
        f"uplink {figure_text(summary['bpp_up'])} bpp a round, {figure_text(summary['bpp_up_total'])} in all with the "
        f"head, {summary['uplink_bytes']:,} bytes",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    if skipped := stored.task.get("skipped"):
        console.print(
            f"{len(skipped)} images could not be read and were left out, {plain_text(skipped[0])} first; task.json "
            "lists them",
            highlight=False, soft_wrap=True,
        )  # fmt: skip


def plain_text(text: object) -> str:
    """A text from a run folder, for the terminal: neither its markup nor its control characters do anything there."""
    return escape(UNPRINTABLE.sub("�", str(text)))


def figure_text(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.4f}"


def print_json(value: Any) -> int:
    print(json.dumps(value, indent=1, allow_nan=False))
    return 0


def complain(status: int, *lines: str) -> int:
    """Print what is wrong, a line each; returns the exit status."""
    for line in lines:
        shown = "\n".join(UNPRINTABLE.sub("�", part) for part in line.split("\n"))
        people.print(f"deltamask: {shown}", style="red", highlight=False, markup=False, soft_wrap=True)
    return status
