"""The `deltamask` command."""

from __future__ import annotations

from collections.abc import Sequence

from deltamask.cli.interrupt import ending_at_once


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; see `commands.main`. Whoever interrupts it while it loads sees no traceback."""
    with ending_at_once():
        from deltamask.cli import commands
    return commands.main(arguments)


__all__ = ["main"]
