"""Flips of real runs as .npz files, one for each client and round: `codec_sizes.py --dump` writes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from deltamask.codecs import CodecContext
from deltamask.masking.masks import Positions
from deltamask.masking.noise import PublicNoise

NOBODY = -1  # stands for None: u that all clients share


def save_flips(folder: Path, run: str, positions: Positions, context: CodecContext) -> None:
    """One client's flips, and what server and client share before they travel."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = context.noise
    np.savez_compressed(
        folder / f"{run}-r{context.round:02d}-c{context.client}.npz",
        positions=positions,
        theta_global=context.theta,
        seed=noise.seed,
        round=context.round,
        client=context.client,
        noise_client=NOBODY if noise.client is None else noise.client,
        layers=context.layers,
    )


def read_flips(folder: Path) -> Iterator[tuple[Positions, CodecContext]]:
    """(flips, context) of every file in `folder`, in the order of their names. ValueError if there is none."""
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        raise ValueError(f"{folder}: no .npz file; `codec_sizes.py --dump {folder}` writes some")
    for path in paths:
        with np.load(path) as file:
            of = int(file["noise_client"])
            round, client = int(file["round"]), int(file["client"])
            noise = PublicNoise(int(file["seed"]), round, None if of == NOBODY else of)
            layers = tuple(int(start) for start in file["layers"])
            yield file["positions"], CodecContext(round, client, file["theta_global"], noise, layers)
