"""How work that takes long says how far it has come."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]  # (what, done, total)

NOTE = "note: "  # begins a `what` that is to be read, and not only while it lasts
