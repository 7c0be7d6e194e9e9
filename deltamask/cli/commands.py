"""The `deltamask` command. Each subcommand prints for people, or with --json for programs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence

import tyro
from pydantic import ValidationError

from deltamask.base.paths import remedy
from deltamask.cli.console import lasting_streams
from deltamask.cli.interrupt import STATUS
from deltamask.cli.output import complain, people
from deltamask.config import explain_errors
from deltamask.runs import StoreError

COMMANDS = {  # where each is defined, so that one does not wait for what only another imports
    "app": "app",
    "run": "running",
    "resume": "running",
    "sweep": "study",
    "results": "study",
    "gallery": "study",
    "runs": "reading",
    "show": "reading",
    "export": "reading",
    "delete": "reading",
    "rename": "reading",
    "bench": "machine",
    "download": "machine",
    "cache": "machine",
    "what-if": "reading",
    "check": "machine",
    "doctor": "machine",
}


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
        if arguments and arguments[0] in COMMANDS:
            name = arguments[0]
            return tyro.cli(_command(name, arguments), prog=f"deltamask {name}", args=arguments[1:])
        status: int = tyro.extras.subcommand_cli_from_dict(
            {name: _command(name, arguments) for name in COMMANDS},
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


def _command(name: str, arguments: list[str]) -> Callable[..., int]:
    module = importlib.import_module(f"deltamask.cli.{COMMANDS[name]}")
    if name == "run":
        command: Callable[..., int] = module.run_command(module.chosen_preset(arguments))
        return command
    command = getattr(module, name.replace("-", "_"))
    return command
