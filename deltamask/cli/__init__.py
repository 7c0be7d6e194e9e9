"""The `deltamask` command."""

from deltamask.cli.commands import main

__all__ = ["main"]
