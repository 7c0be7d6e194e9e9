"""How work that takes long says how far it has come."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]  # (what, done, total)

NOTE = "note: "  # begins a `what` that is to be read, and not only while it lasts
ALONE = "going alone, clients"  # the `what` of clients that train alone, to be compared with the run's
