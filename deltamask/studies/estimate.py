"""What a run will probably take, judged from runs that were measured. An estimate, never a record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deltamask.base.units import ceil
from deltamask.config import RunConfig
from deltamask.methods import methods
from deltamask.methods.participation import is_everybodys
from deltamask.runs.reader import Run

SAME_WORK = (
    "backbone",
    "masked_blocks",
    "image_size",
    "head_init",
    "dp",
)  # what a training step costs depends on these
# What a message's size depends on, the number of images apart. Fields that a version does not have are passed over.
SAME_BITS = (
    "method", "dataset", "backbone", "masked_blocks", "image_size", "codec", "kappa", "kappa_schedule", "noise",
    "aggregation", "server_lr", "lr", "lr_schedule", "theta_init", "downlink", "update_codec", "weight_lr", "lora_rank",
    "adapter_bases", "zo_steps",
    "head_init", "head_means", "head_projection", "head_fraction_bits", "head_refit", "local_loss", "side_information",
    "smoothing", "dp", "dp_epsilon", "dp_noise",
)  # fmt: skip
JUDGED = 5  # runs, the latest ones, of which the median counts


@dataclass(frozen=True)
class Time:
    """seconds for the whole run, features apart; runs: how many it is judged from; local: were they made here?"""

    seconds: float
    runs: int
    local: bool


@dataclass(frozen=True)
class Bytes:
    """uplink, downlink: bytes for the whole run and all clients; bpp_up a round. like: the run it is judged from."""

    uplink: float
    downlink: float
    bpp_up: float
    like: Run


def estimate_time(config: RunConfig, runs: Sequence[Run], *, local: Path) -> Time | None:
    """From seconds per image and epoch of runs on the same network; None where there is no such run.

    local: the folder of runs that this machine made; they are preferred to recorded ones.
    """
    probing = methods[config.method].sends == "head"
    similar = [
        run
        for run in runs
        if all(getattr(run.config, name) == getattr(config, name) for name in SAME_WORK)
        and (methods[run.config.method].sends == "head") == probing
        and not run.uploaded
    ]
    ours = [run for run in similar if run.path.absolute().parent == local.absolute()]
    for candidates in (ours, [run for run in similar if run not in ours]):
        measured = [seconds for run in candidates[: 4 * JUDGED] if (seconds := _seconds(config, run)) is not None]
        if measured:
            return Time(float(np.median(measured[:JUDGED])), min(len(measured), JUDGED), candidates is ours)
    return None


def _seconds(config: RunConfig, run: Run) -> float | None:
    """The config's time if its images went as fast as those of `run`."""
    records = [record for record in run.records if record["round"] > 0]
    if not records:
        return None
    images = sum(client["samples"] for record in records for client in record["clients"]) * run.config.local_epochs
    evaluated = len(records) * run.config.test_samples
    work = sum(sum(record["seconds"].values()) - record["seconds"].get("evaluate", 0.0) for record in records)
    per_image, per_test = work / max(1, images), sum(r["seconds"].get("evaluate", 0.0) for r in records) / evaluated
    first = run.records[0]
    probed = sum(client["samples"] for client in first["clients"]) * _head_epochs(run.config)
    per_probed = first["seconds"].get("train", 0.0) / max(1, probed) if first["round"] == 0 else 0.0
    share = config.train_samples * config.clients_per_round / config.clients  # images seen in a round
    a_round = per_image * share * config.local_epochs + per_test * config.test_samples
    head = per_probed * config.train_samples * _head_clients(config) / config.clients
    alone = 0.0
    if config.compare_alone:
        epochs = ceil(config.rho * config.rounds) * config.local_epochs
        alone = per_image * config.train_samples * epochs + per_test * config.test_samples * config.clients
    return config.rounds * a_round + head * _head_epochs(config) + alone


def estimate_bytes(config: RunConfig, runs: Sequence[Run]) -> Bytes | None:
    """From the messages of the run that is most like this one; None where none has the same coding and training."""
    similar = [
        run for run in runs if all(getattr(run.config, name, None) == getattr(config, name, None) for name in SAME_BITS)
    ]

    def distance(run: Run) -> float:
        return abs(math.log(_steps(run.config) / _steps(config)))

    for run in sorted(similar, key=distance):
        summary, d = run.summary(), run.task.get("d")
        if not d or summary["bpp_up"] is None or run.records[0]["round"] != 0:
            continue
        messages = config.rounds * config.clients_per_round
        first = run.records[0]
        head = d / 8 * _head_clients(config)
        return Bytes(
            uplink=summary["bpp_up"] * d / 8 * messages + first["bpp_up"] * head,
            downlink=summary["bpp_down"] * d / 8 * messages + first["bpp_down"] * head,
            bpp_up=summary["bpp_up"],
            like=run,
        )
    return None


def _head_clients(config: RunConfig) -> int:
    """How many clients answer in round 0."""
    return config.clients if is_everybodys(config) else config.clients_per_round


def _head_epochs(config: RunConfig) -> int:
    """How often a client goes through its samples for the head: statistics are taken once."""
    return 1 if is_everybodys(config) else config.probe_epochs


def _steps(config: RunConfig) -> float:
    """Training steps of a client in a round, on average."""
    return config.train_samples / config.clients * config.local_epochs / config.batch_size
