"""Where tensors live. All that depends on it is here: which device, and in which precision it trains.

θ_g, u, masks, flips and bytes never leave NumPy, so they mean the same on every device. What differs between devices is
the rounding inside a client's training, as it does between two versions of torch.
"""

from __future__ import annotations

import contextlib

import torch


class DeviceError(RuntimeError):
    """The device is not on this machine; the message says which are."""


def available() -> list[str]:
    """What this machine has, the fastest first."""
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return [name for name, there in has.items() if there]


def pick(name: str) -> torch.device:
    """The device that RunConfig's field names; `auto`: the fastest that is there. Raises DeviceError."""
    there = available()
    if name != "auto" and name not in there:
        raise DeviceError(f"device = {name!r} is not available here; there is: {', '.join(there)}")
    return torch.device(there[0] if name == "auto" else name)


def mixed_precision(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """On CUDA, matrix products in bfloat16 with float32 weights and sums; elsewhere nothing changes."""
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else contextlib.nullcontext()
