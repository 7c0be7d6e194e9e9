"""`deltamask run` and `resume`: a run in its folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import field, make_dataclass
from typing import Annotated, Any, Literal

import tyro

from deltamask.base.progress import NOTE
from deltamask.cli.interrupt import STATUS, ending_at_once
from deltamask.cli.output import Json, Place, RunName, people, print_summary, progress
from deltamask.config import RunConfig, choices, field_bounds, field_range, is_unread, located, readers_of
from deltamask.config.presets import PRESETS, preset
from deltamask.runs import manage
from deltamask.runs.begin import new_run, refuse_early
from deltamask.runs.folder import RunFolder, new_folder
from deltamask.runs.reader import load_run

Out = Annotated[Place | None, tyro.conf.arg(help="Folder for the run; by default runs/<id>.")]
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
        valid = located(RunConfig(**vars(config)))
        refuse_early(valid)
        for name in RunConfig.model_fields:
            if getattr(valid, name) != getattr(default, name) and is_unread(name, valid):
                people.print(f"{NOTE}{name} = {getattr(valid, name)} has no effect here: {_unread_by(name, valid)}")
        path = out or new_folder(valid)
        _load_libraries()  # before there is a folder
        with new_run(path, valid) as folder:
            return execute_run(folder, valid, json)

    run.__annotations__["config"] = Annotated[fields, tyro.conf.OmitArgPrefixes]
    return run


def _unread_by(name: str, config: RunConfig) -> str:
    """Who does not read a field, in words."""
    kind = RunConfig.setting(name).reader
    chooser = next(field for field in RunConfig.model_fields if RunConfig.setting(field).registry == kind)
    return f"{chooser} {getattr(config, chooser)} does not read it as it is set"


def _option(name: str) -> Any:
    """A field's type, with its help and range, for the parser."""
    info, setting = RunConfig.model_fields[name], RunConfig.setting(name)
    low, high = field_bounds(name)
    limits = f" Range: {field_range(name)}." if low or high else ""
    readers = f" Read by: {', '.join(readers_of(name))}." if setting.reader else ""
    kind: Any = Literal[tuple(choices(name))] if setting.registry and not setting.prefix else info.annotation
    if kind is bool:  # `--name True`, as every other field has its value behind it
        kind = tyro.conf.FlagConversionOff[bool]
    return Annotated[kind, tyro.conf.arg(help=f"{info.description}{limits}{readers}")]


def resume(
    run: RunName,
    *,
    accept_changes: Annotated[
        bool, tyro.conf.arg(help="Go on although data or weights are not those it began with; the run will say so.")
    ] = False,
    rounds: Annotated[
        int | None,
        tyro.conf.arg(help="More rounds than it began with; the same as if it had begun with them. Not with cosine."),
    ] = None,
    json: Json = False,
) -> int:
    """Go on with a stopped, killed or failed run, from its last finished round; or with a finished one, by --rounds."""
    stored = load_run(run)
    config = stored.config if rounds is None else manage.extend(stored, rounds)
    _load_libraries()
    return execute_run(RunFolder(stored.path), config, json, accept_changes)


def _load_libraries() -> None:
    """Torch, which takes seconds; Ctrl-C meanwhile ends the process, which has begun nothing."""
    with ending_at_once():
        import deltamask.runs.runner  # noqa: F401


def execute_run(folder: RunFolder, config: RunConfig, as_json: bool, accept_changes: bool = False) -> int:
    from deltamask.runs.runner import execute
    from deltamask.simulation.records import RoundRecord

    with progress() as show:

        def on_record(record: RoundRecord) -> None:
            if as_json:
                print(json.dumps(record.to_json()), flush=True)
                return
            kept = "" if record.kept is None else f"  flips sent {record.kept:8.0f}"
            people.print(
                f"round {record.round:4d}/{config.rounds}  accuracy {record.accuracy:.4f}  "
                f"uplink {record.bpp_up:.4f} bpp{kept}  {sum(record.seconds.values()):.1f} s",
            )  # fmt: skip

        people.print(f"writing {folder.path}")
        try:
            state = execute(folder, config, on_record=on_record, show=show, accept_changes=accept_changes)
        except KeyboardInterrupt:
            people.print(
                f"interrupted; `deltamask resume {folder.path}` goes on from the last finished round",
            )  # fmt: skip
            return STATUS
    if not as_json:
        print_summary(load_run(folder.path), people)
    if state == "stopped":
        people.print(f"stopped; `deltamask resume {folder.path}` goes on")
    return 0


def chosen_preset(arguments: Sequence[str]) -> RunConfig:
    """The config that --preset names. It must be known before the parser is made, whose defaults it sets."""
    for at, argument in enumerate(arguments):
        if argument == "--preset" and at + 1 < len(arguments):
            return preset(arguments[at + 1])
        if argument.startswith("--preset="):
            return preset(argument.removeprefix("--preset="))
    return RunConfig()
