"""`deltamask runs`, `show`, `export` and `what-if`: runs that are there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro
from rich.table import Table
from rich.text import Text

from deltamask.cli.console import console, print_table
from deltamask.cli.output import (
    Json,
    Place,
    RunName,
    complain,
    figure_text,
    people,
    plain_text,
    print_json,
    print_summary,
)
from deltamask.runs import export as exporting
from deltamask.runs import manage
from deltamask.runs.reader import list_broken, list_runs, load_run, starred_first
from deltamask.studies.find import FindError, find


def runs(words: Annotated[tuple[str, ...], tyro.conf.Positional] = (), *, json: Json = False) -> int:
    """List runs: your own and the recorded ones, those with a star (★) first.

    Words narrow the list, and all must hold: `method=fedpm 'kappa<0.5' 'accuracy>=0.88'` compare a setting or a figure,
    `#draft` is a word of the note, `'*'` a star, and any other word is looked for in name, label and note.

    Args:
        words: what to look for; without any, all runs.
    """
    try:
        found = find(list_runs(), " ".join(words))
    except FindError as error:
        return complain(2, str(error))
    rows = [
        {
            "run": run.id, **run.mark.model_dump(), "state": run.state, "uploaded": run.uploaded,
            "changes": run.changes, **run.summary(), "path": str(run.path),
        }
        for run in starred_first(found)
    ]  # fmt: skip
    broken = list_broken()
    if json:
        damaged = ({"run": each.name, "state": "broken", "message": each.reason, "path": each.place} for each in broken)
        return print_json([*rows, *damaged])
    noted = any(row["note"] for row in rows)
    table = Table("run", "state", "rounds", "accuracy", "bpp up", "total bpp up", *(["note"] if noted else []))
    for row in rows:
        table.add_row(
            f"{'★ ' if row['star'] else ''}{plain_text(row['run'])}",
            _state(row["state"], row["uploaded"], row["changes"]),
            str(row["rounds"]),
            *(figure_text(row[k]) for k in ("accuracy", "bpp_up", "bpp_up_total")),
            *([plain_text(row["note"])] if noted else []),
        )
    print_table(table)
    complain(0, *(f"{each.name} is left out: {each.reason}" for each in broken))
    return 0


def _state(state: str, uploaded: bool, changes: list[str]) -> str:
    """A run's state, and what else to know before its figures are believed."""
    return plain_text(state) + (", uploaded" if uploaded else "") + (", changed midway" if changes else "")


def show(run: RunName, *, json: Json = False) -> int:
    """Show a run: its config, its rounds and its headline figures."""
    stored = load_run(run)
    if json:
        return print_json(exporting.as_json(stored))
    out = console()
    state = _state(stored.state, stored.uploaded, stored.changes)
    message = plain_text(stored.status.get("message", ""))
    out.print(Text.assemble((plain_text(stored.id), "bold"), f"  {state}  {message}".rstrip()))
    if stored.mark.note:
        out.print(f"note: {plain_text(stored.mark.note)}")
    out.print(exporting.command_line(stored.config))
    for line in stored.changes:
        out.print(f"changed midway: {plain_text(line)}", style="yellow")
    table = Table("round", "accuracy", "loss", "bpp up", "total bpp up", "flips", "kept", "false", "seconds")
    for row in stored.rounds.to_dict("records"):
        cells = [figure_text(row[k]) for k in ("accuracy", "loss", "bpp_up", "bpp_up_total")]
        counts = [
            "–" if row[k] is None or row[k] != row[k] else f"{row[k]:.0f}" for k in ("flips", "kept", "false_flips")
        ]
        table.add_row(str(row["round"]), *cells, *counts, f"{sum(row['seconds'].values()):.1f}")
    print_table(table)
    print_summary(stored, out)
    return 0


def export(
    run: RunName,
    *,
    out: Annotated[
        Place | None,
        tyro.conf.arg(
            help="A .zip (the whole folder), .csv (rounds), .json, or .ipynb (a notebook that makes the run again); "
            "by default <run>.zip."
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Write a run to one file, to mail or to open elsewhere."""
    stored = load_run(run)
    target = out or Path(f"{stored.path.name}.zip")
    exporting.write(stored, target)
    if json:
        return print_json({"run": stored.id, "path": str(target)})
    people.print(f"wrote {target}")
    return 0


def delete(run: RunName, *, yes: Annotated[bool, tyro.conf.arg(help="Do not ask.")] = False, json: Json = False) -> int:
    """Delete a run's folder, after asking. A run that is under way, and a recorded one, are refused."""
    stored = load_run(run)
    people.print(f"{stored.path}: {stored.state}, {len(stored.records)} records")
    if not yes:
        if not sys.stdin.isatty():
            return complain(2, "nobody to ask: add --yes to delete it")
        if input("Delete it for good? [y/N] ").strip().lower() not in ("y", "yes"):
            return 1
    manage.delete(stored)
    return print_json({"deleted": str(stored.path)}) if json else 0


def rename(run: RunName, name: RunName, *, json: Json = False) -> int:
    """Give a run another name. One that is under way, a recorded one and a sweep's are refused."""
    path = manage.rename(load_run(run), name)
    if json:
        return print_json({"run": path.name, "path": str(path)})
    people.print(f"{path}")
    return 0


def what_if(
    run: RunName,
    *,
    round: Annotated[int, tyro.conf.arg(help="The round to play again.")],
    client: Annotated[int, tyro.conf.arg(help="Whose payload is replaced.")],
    payload: Annotated[Place, tyro.conf.arg(help="The file that takes its place.")],
    json: Json = False,
) -> int:
    """Play a recorded round again with one payload replaced: what does that do to the accuracy?"""
    from deltamask.inspection.what_if import replace_payload

    answer = replace_payload(load_run(run), round, client, payload.read_bytes())
    if json:
        return print_json(answer)
    refused = "" if answer["dropped"] is None else f"\nthe server refuses it: {answer['dropped']}"
    print(f"accuracy after round {round}: {answer['accuracy']:.4f}, with {payload}: {answer['changed']:.4f}{refused}")
    return 0
