"""Compile every kernel that the inspection of a payload needs, so that the first payload opens as fast as the next.

Numba keeps compiled code on disk: `python -m deltamask.inspection.precompile` fills that store in a process of its own,
and calling `compile_kernels()` afterwards only loads it.
"""

from __future__ import annotations

import os

import numpy as np

from deltamask.codecs import CodecContext, codecs, entropy
from deltamask.config import RunConfig
from deltamask.inspection import filter_lookup
from deltamask.inspection.anatomy import take_apart
from deltamask.inspection.part_costs import part_costs
from deltamask.masking.noise import PublicNoise
from deltamask.runs import client_flips

D = 4096


def compile_kernels() -> list[str]:
    """Encode, decode and take apart a few flips with every codec; returns the codecs' names."""
    context = CodecContext(1, 0, np.full(D, 1 << 15, np.uint16), PublicNoise(0, 1, 0), (0, D))
    flips = np.arange(3, D, 60)
    client_flips.unpack(client_flips.pack(flips, flips[::2], D, 1, 0), flips, D, 1, 0)
    usual = RunConfig().codec  # most payloads use it: first
    for name in sorted(codecs, key=lambda name: name != usual):
        payload = codecs[name].encode(flips, context)
        codecs[name].decode(payload, context)
        anatomy = take_apart(payload, context)
        part_costs(anatomy)
        if anatomy.filter is not None:
            filter_lookup.look_up(anatomy.filter, 3)
            filter_lookup.askers(anatomy.filter, 0, 0, D)
    entropy.entropy_side(flips, context)
    return list(codecs)


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(10)  # the page that a visitor waits for comes first
    compile_kernels()
