"""Where tensors live. All that depends on it is here: which device, and in which precision it trains.

θ_g, u, masks, flips and bytes never leave NumPy, so they mean the same on every device. What differs between devices is
the rounding inside a client's training, as it does between two versions of torch.
"""

from __future__ import annotations

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


def products(precision: str, device: torch.device) -> torch.dtype:
    """What RunConfig's `precision` means there. `auto`: bfloat16 on CUDA, float32 elsewhere."""
    if precision == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]


def multiplies_bfloat16() -> bool:
    """Has this processor instructions for products in bfloat16? Without them they are slower than in float32."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
