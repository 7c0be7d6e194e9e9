"""The `deltamask` command. Each subcommand prints for people, or with --json for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from deltamask import backbones, datasets
from deltamask.base.paths import download_dir
from deltamask.base.units import byte_size
from deltamask.cli.app import app
from deltamask.cli.study import results, sweep
from deltamask.config import RunConfig, choices, explain_errors, field_bounds, field_range
from deltamask.config.presets import PRESETS, preset
from deltamask.methods import readers_of
from deltamask.runs import StoreError
from deltamask.runs import export as exporting
from deltamask.runs.folder import RunFolder, new_folder
from deltamask.runs.reader import Run, list_runs, load_run
from deltamask.task import feature_cache as caching

RunName = Annotated[str, tyro.conf.Positional]
Out = Annotated[Path | None, tyro.conf.arg(help="Folder for the run; by default runs/<id>.")]
Json = Annotated[bool, tyro.conf.arg(help="Print JSON for programs instead of text for people.")]

_people = Console(stderr=True)


PRESET_HELP = f"Start from a named config: {', '.join(PRESETS)}, or paper:BACKBONE:DATASET (docs/paper.md)."


def run_command(default: RunConfig) -> Callable[..., int]:
    """The `run` subcommand. Its options are RunConfig's fields, their defaults taken from the preset.

    The parser sees a plain dataclass of the fields, so that validation happens once, in RunConfig, with its own words.
    """
    fields = make_dataclass(
        "RunFields",
        [(name, _option(name), field(default=getattr(default, name))) for name in RunConfig.model_fields],
    )
    fields.__doc__ = RunConfig.__doc__

    def run(
        config: Annotated[Any, tyro.conf.OmitArgPrefixes],
        *,
        preset: Annotated[str | None, tyro.conf.arg(help=PRESET_HELP)] = None,
        out: Out = None,
        json: Json = False,
    ) -> int:
        """Run a federated fine-tuning, round by round, into a run folder."""
        valid = RunConfig(**vars(config))
        dataset, _ = datasets.get(valid.dataset), backbones.get(valid.backbone)
        if dataset.where() is None:  # neither it nor an unknown name may leave a run's folder behind
            dataset.read()
        return _execute(RunFolder.create(out or new_folder(valid), valid), valid, json)

    run.__annotations__["config"] = Annotated[fields, tyro.conf.OmitArgPrefixes]
    return run


def _option(name: str) -> Any:
    """A field's type, with its help and range, for the parser."""
    info, setting = RunConfig.model_fields[name], RunConfig.setting(name)
    low, high = field_bounds(name)
    limits = f" Range: {field_range(name)}." if low or high else ""
    readers = f" Read by: {', '.join(readers_of(name))}." if setting.of_method else ""
    kind: Any = Literal[tuple(choices(name))] if setting.registry and not setting.prefix else info.annotation
    return Annotated[kind, tyro.conf.arg(help=f"{info.description}{limits}{readers}")]


def resume(run: RunName, *, json: Json = False) -> int:
    """Go on with a stopped, killed or failed run, from its last finished round."""
    stored = load_run(run)
    return _execute(RunFolder(stored.path), stored.config, json)


def runs(*, json: Json = False) -> int:
    """List runs: your own and the recorded ones."""
    rows = [{"run": run.id, "state": run.state, **run.summary(), "path": str(run.path)} for run in list_runs()]
    if json:
        return _print_json(rows)
    table = Table("run", "state", "rounds", "accuracy", "bpp up", "total bpp up")
    for row in rows:
        table.add_row(
            row["run"],
            row["state"],
            str(row["rounds"]),
            *(_figure(row[k]) for k in ("accuracy", "bpp_up", "bpp_up_total")),
        )
    Console().print(table)
    return 0


def show(run: RunName, *, json: Json = False) -> int:
    """Show a run: its config, its rounds and its headline figures."""
    stored = load_run(run)
    if json:
        return _print_json(exporting.as_json(stored))
    console = Console()
    console.print(f"[bold]{stored.id}[/bold]  {stored.state}  {stored.status.get('message', '')}".rstrip())
    console.print(exporting.command_line(stored.config), soft_wrap=True)
    table = Table("round", "accuracy", "loss", "bpp up", "total bpp up", "flips", "kept", "false", "seconds")
    for row in stored.rounds.to_dict("records"):
        cells = [_figure(row[k]) for k in ("accuracy", "loss", "bpp_up", "bpp_up_total")]
        counts = [
            "–" if row[k] is None or row[k] != row[k] else f"{row[k]:.0f}" for k in ("flips", "kept", "false_flips")
        ]
        table.add_row(str(row["round"]), *cells, *counts, f"{sum(row['seconds'].values()):.1f}")
    console.print(table)
    _print_summary(stored, console)
    return 0


def export(
    run: RunName,
    *,
    out: Annotated[
        Path | None, tyro.conf.arg(help="A .zip (the whole folder), .csv (rounds) or .json file; by default <run>.zip.")
    ] = None,
) -> int:
    """Write a run to one file, to mail or to open elsewhere."""
    stored = load_run(run)
    target = out or Path(f"{stored.id}.zip")
    exporting.write(stored, target)
    _people.print(f"wrote {target}", soft_wrap=True)
    return 0


def bench(
    what: Annotated[Literal["codecs"], tyro.conf.Positional],
    *,
    d: Annotated[float, tyro.conf.arg(help="Number of maskable weights; 1e9 is understood.")] = 1_009_792,
    density: Annotated[float, tyro.conf.arg(help="Share of positions that flip.")] = 0.01,
    seed: Annotated[int, tyro.conf.arg(help="Of the synthetic flips.")] = 0,
    json: Json = False,
) -> int:
    """Time and weigh every codec on synthetic flips: bytes, both entropy bounds, false flips, memory."""
    from deltamask.cli import bench_codecs as benchmarks

    if not 1 <= d <= 1e10:
        return _complain(2, f"d = {d:g} is out of range: 1 ≤ d ≤ 1e10")
    rows = benchmarks.bench_codecs(int(d), density, seed)
    if json:
        return _print_json(rows)
    benchmarks.print_table(rows)
    return 0


def download(
    name: Annotated[str, tyro.conf.Positional],
    *,
    yes: Annotated[bool, tyro.conf.arg(help="Do not ask.")] = False,
) -> int:
    """Fetch a dataset, after saying its size and licence and asking."""
    from deltamask.datasets.download import download as fetch

    spec = datasets.get(name)
    if (place := spec.where()) is not None:
        _people.print(f"{name} is here already: {place}", soft_wrap=True)
        return 0
    if spec.download is None:
        return _complain(1, f"{name} cannot be downloaded: {spec.how_to_get}")
    root = download_dir()
    _people.print(
        f"{name}: {byte_size(spec.download.size)} from {spec.download.hosts} into {root}\nlicence: {spec.license}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    if not yes:
        if not sys.stdin.isatty():
            return _complain(2, "nobody to ask: add --yes to download it")
        if input("Download it? [y/N] ").strip().lower() not in ("y", "yes"):
            return 1
    with _progress() as show:
        try:
            fetch(name, spec.download, root, show)
        except KeyboardInterrupt:
            _people.print(f"interrupted; `deltamask download {name}` goes on from there", soft_wrap=True)
            return 130
    _people.print(f"{name} is in {spec.where()}", soft_wrap=True)
    return 0


def cache(
    what: Annotated[Literal["list", "clear"], tyro.conf.Positional],
    *,
    older_than: Annotated[float, tyro.conf.arg(help="Only what has not been used for so many days.")] = 0.0,
    json: Json = False,
) -> int:
    """List or clear the feature cache. What is cleared is computed again when a run needs it."""
    chosen = caching.clear(older_than) if what == "clear" else caching.entries(older_than)
    total = sum(entry["bytes"] for entry in chosen)
    if json:
        limit = caching.cache_limit()
        return _print_json({"path": str(caching.features_dir()), "bytes": total, "limit": limit, "entries": chosen})
    table = Table("features", "blocks", "precision", "train", "test", "size", "unused for")
    for entry in chosen:
        told = (entry["name"], str(entry["masked_blocks"] or ""), entry["precision"] or "")
        samples = (f"{entry['samples'][split]:,}" for split in ("train", "test"))
        table.add_row(*told, *samples, byte_size(entry["bytes"]), f"{entry['days_unused']:.1f} days")
    Console().print(table)
    removed = "removed" if what == "clear" else f"of {byte_size(caching.cache_limit())} (DELTAMASK_CACHE_LIMIT)"
    Console().print(f"{caching.features_dir()}: {byte_size(total)} {removed}", soft_wrap=True)
    return 0


def what_if(
    run: RunName,
    *,
    round: Annotated[int, tyro.conf.arg(help="The round to play again.")],
    client: Annotated[int, tyro.conf.arg(help="Whose payload is replaced.")],
    payload: Annotated[Path, tyro.conf.arg(help="The file that takes its place.")],
    json: Json = False,
) -> int:
    """Play a recorded round again with one payload replaced: what does that do to the accuracy?"""
    from deltamask.inspection.what_if import replace_payload

    answer = replace_payload(load_run(run), round, client, payload.read_bytes())
    if json:
        return _print_json(answer)
    refused = "" if answer["dropped"] is None else f"\nthe server refuses it: {answer['dropped']}"
    print(f"accuracy after round {round}: {answer['accuracy']:.4f}, with {payload}: {answer['changed']:.4f}{refused}")
    return 0


def doctor(*, json: Json = False) -> int:
    """Say what works here: packages, datasets, backbones, the feature cache."""
    from deltamask.cli import doctor as examination

    report = examination.examine()
    if json:
        return _print_json(report)
    examination.print_report(report, Console())
    return 0 if report["healthy"] else 1


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """show(what, done, total): a bar on a terminal, elsewhere a line for each thing that is begun."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_people, transient=True, disable=not _people.is_terminal) as progress:
        bar = progress.add_task("starting", total=None)
        last = ""

        def show(what: str, done: int, total: int) -> None:
            nonlocal last
            if what != last:
                progress.reset(bar, description=what, total=total)
                last = what
                if not _people.is_terminal and not what.startswith("round"):
                    _people.print(what, highlight=False)
            progress.update(bar, completed=done)

        yield show


def _execute(folder: RunFolder, config: RunConfig, as_json: bool) -> int:
    from deltamask.runs.runner import execute
    from deltamask.simulation.records import RoundRecord

    with _progress() as show:

        def on_record(record: RoundRecord) -> None:
            if as_json:
                print(json.dumps(record.to_json()), flush=True)
                return
            kept = "" if record.kept is None else f"  flips sent {record.kept:8.0f}"
            _people.print(
                f"round {record.round:4d}/{config.rounds}  accuracy {record.accuracy:.4f}  "
                f"uplink {record.bpp_up:.4f} bpp{kept}  {sum(record.seconds.values()):.1f} s",
                highlight=False,
            )  # fmt: skip

        _people.print(f"writing {folder.path}", highlight=False, soft_wrap=True)
        try:
            state = execute(folder, config, on_record=on_record, show=show)
        except KeyboardInterrupt:
            _people.print(
                f"interrupted; `deltamask resume {folder.path}` goes on from the last finished round", soft_wrap=True
            )
            return 130
    if not as_json:
        _print_summary(load_run(folder.path), _people)
    if state == "stopped":
        _people.print(f"stopped; `deltamask resume {folder.path}` goes on", soft_wrap=True)
    return 0


def _print_summary(stored: Run, console: Console) -> None:
    summary = stored.summary()
    console.print(
        f"{summary['rounds']} rounds: accuracy {_figure(summary['accuracy'])} (mean of the last ten), "
        f"uplink {_figure(summary['bpp_up'])} bpp a round, {_figure(summary['bpp_up_total'])} in all with the head, "
        f"{summary['uplink_bytes']:,} bytes",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    if skipped := stored.task.get("skipped"):
        console.print(
            f"{len(skipped)} images could not be read and were left out, {skipped[0]} first; task.json lists them",
            highlight=False, soft_wrap=True,
        )  # fmt: skip


def _figure(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.4f}"


def _print_json(value: Any) -> int:
    print(json.dumps(value, indent=1, allow_nan=False))
    return 0


def _chosen_preset(arguments: Sequence[str]) -> RunConfig:
    """The config that --preset names. It must be known before the parser is made, whose defaults it sets."""
    for at, argument in enumerate(arguments):
        if argument == "--preset" and at + 1 < len(arguments):
            return preset(arguments[at + 1])
        if argument.startswith("--preset="):
            return preset(argument.removeprefix("--preset="))
    return RunConfig()


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit status: 0, 1 when something failed, 2 for a bad argument."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        commands: dict[str, Callable[..., Any]] = {
            "app": app,
            "run": run_command(_chosen_preset(arguments)),
            "resume": resume,
            "sweep": sweep,
            "results": results,
            "runs": runs,
            "show": show,
            "export": export,
            "bench": bench,
            "download": download,
            "cache": cache,
            "what-if": what_if,
            "doctor": doctor,
        }
        status: int = tyro.extras.subcommand_cli_from_dict(
            commands,
            prog="deltamask",
            args=arguments,
            description="See what federated fine-tuning sends, costs and buys.",
        )
        return status
    except ValidationError as error:
        return _complain(2, *explain_errors(error))
    except KeyError as error:
        return _complain(2, str(error.args[0]))
    except ValueError as error:
        return _complain(2, str(error))
    except (StoreError, OSError, RuntimeError) as error:
        return _complain(1, str(error))


def _complain(status: int, *lines: str) -> int:
    for line in lines:
        _people.print(f"deltamask: {line}", style="red", highlight=False, markup=False, soft_wrap=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
