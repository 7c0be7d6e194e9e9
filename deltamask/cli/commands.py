"""The `deltamask` command. Each subcommand prints for people, or with --json for programs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import tyro
from pydantic import ValidationError

from deltamask.base.paths import remedy
from deltamask.cli.app import app
from deltamask.cli.console import lasting_streams
from deltamask.cli.interrupt import STATUS
from deltamask.cli.machine import bench, cache, check, doctor, download
from deltamask.cli.output import complain, people
from deltamask.cli.reading import delete, export, rename, runs, show, what_if
from deltamask.cli.running import chosen_preset, resume, run_command
from deltamask.cli.study import results, sweep
from deltamask.config import explain_errors
from deltamask.runs import StoreError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit status: 0, 1 when something failed, 2 for a bad argument, 130 after Ctrl-C."""
    with lasting_streams() as printed:
        status = _run(list(sys.argv[1:] if arguments is None else arguments))
        if printed is not None:
            printed.flush()
            if printed.fault is not None and status == 0:
                return complain(1, f"what was to be printed is not whole: {printed.fault}")
        return status


def _run(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        from deltamask.runs.folder import provenance

        print(" ".join(["deltamask", *(str(part) for part in provenance().values() if part)]))
        return 0
    try:
        commands: dict[str, Callable[..., Any]] = {
            "app": app,
            "run": run_command(chosen_preset(arguments)),
            "resume": resume,
            "sweep": sweep,
            "results": results,
            "runs": runs,
            "show": show,
            "export": export,
            "delete": delete,
            "rename": rename,
            "bench": bench,
            "download": download,
            "cache": cache,
            "what-if": what_if,
            "check": check,
            "doctor": doctor,
        }
        status: int = tyro.extras.subcommand_cli_from_dict(
            commands,
            prog="deltamask",
            args=arguments,
            description="See what federated fine-tuning sends, costs and buys. `--version` says which one this is.",
        )
        return status
    except KeyboardInterrupt:
        people.print("interrupted")
        return STATUS
    except ValidationError as error:
        return complain(2, *explain_errors(error))
    except KeyError as error:
        return complain(2, str(error.args[0]))
    except ValueError as error:
        return complain(2, str(error))
    except OSError as error:
        return complain(1, "; ".join(filter(None, (str(error), remedy(error)))))
    except (StoreError, RuntimeError) as error:
        return complain(1, str(error))
