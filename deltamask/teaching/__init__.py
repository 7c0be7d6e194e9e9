"""What the notebooks share, and the Learn page's walkthrough: checks of exercises, figures, one round step by step.

    from deltamask.teaching import check, figures

`check(answer)` checks a reader's function and prints whether it is right, or a hint. The checks stand in one module for
each subject (`bits`, `wire`, `server`, `own`, `leaks`). All is loaded when first used, so that the walkthrough needs no
torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deltamask.teaching import figures
    from deltamask.teaching.checks import check, check_answer, exercises

__all__ = ["check", "check_answer", "exercises", "figures"]

_EXERCISES = ("bits", "wire", "server", "own", "leaks")  # importing one registers its exercises


def __getattr__(name: str) -> Any:
    if name == "figures":
        return importlib.import_module(f"{__name__}.figures")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for module in _EXERCISES:
        importlib.import_module(f"{__name__}.{module}")
    return getattr(importlib.import_module(f"{__name__}.checks"), name)
