"""`none`: nobody lies."""

from __future__ import annotations

from deltamask.attacks.base import Attack, attacks

attacks.register("none")(Attack("None", "Every client is honest.", reads=()))
