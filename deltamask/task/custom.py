"""A Task from your own network and tensors, without a backbone, a dataset or a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from deltamask.backbones.split import Tail, freeze
from deltamask.masking import noise
from deltamask.task import device as devices
from deltamask.task.task import EVALUATION_BATCH, Task

Samples = tuple[Any, Any]  # x (n, …) and labels (n,): tensors or arrays


def make_task(
    *,
    model: nn.Module | tuple[nn.Module, nn.Module],
    split_at: int | None = None,
    train: Samples,
    test: Samples,
    shards: int | Sequence[npt.ArrayLike],
    classes: Sequence[str] | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> Task:
    """A Task for `simulate(config, task=…)`.

    model: a `torch.nn.Sequential`, whose parts from `split_at` on are the masked tail; or (trunk, tail), two modules of
    which the second reads what the first returns. A last linear layer with one output a class is left out: the head is
    what the clients learn in round 0. train, test: (x, labels), x of shape (n, …) as the model reads it, labels (n,)
    whole numbers from 0. shards: the sample indices that each client holds, or a number of clients among whom the
    samples are dealt at random. classes: their names; by default the numbers. device, precision: as in RunConfig.

    Raises ValueError, naming the argument, if these do not fit each other.
    """
    x, y = _samples("train", train)
    test_x, test_y = _samples("test", test)
    count = int(max(y.max(), test_y.max())) + 1 if classes is None else len(classes)
    if int(max(y.max(), test_y.max())) >= count:
        raise ValueError(f"labels reach {int(max(y.max(), test_y.max()))}, and classes names {count}")
    trunk, tail = _parts(model, split_at, count)
    where = devices.pick(device)
    features, test_features = (_features(trunk.to(where), part, where) for part in (x, test_x))
    if not any(isinstance(part, nn.Linear | nn.Conv2d) for layer in tail for part in layer.modules()):
        raise ValueError(f"split_at = {split_at}: no linear or convolution layer stands behind it, so nothing to mask")
    masked = Tail(freeze(nn.Sequential(*tail, nn.Flatten())), where, devices.products(precision, where))
    with torch.inference_mode():
        width = masked(features[:1].to(where)).shape[1]
    names = tuple(str(name) for name in (range(count) if classes is None else classes))
    return Task(masked, features, y, test_features, test_y, _shards(shards, len(y)), names, width)


def _samples(name: str, samples: Samples) -> tuple[Tensor, Tensor]:
    x, y = (torch.as_tensor(np.asarray(part)) if not isinstance(part, Tensor) else part for part in samples)
    if len(x) != len(y) or len(y) == 0 or y.ndim != 1:
        raise ValueError(f"{name}: {len(x)} samples and labels of shape {tuple(y.shape)}; one label a sample is needed")
    if y.is_floating_point() or int(y.min()) < 0:
        raise ValueError(f"{name}: labels are whole numbers from 0, these are {y.dtype} from {y.min()}")
    if x.is_floating_point() and not torch.isfinite(x).all():
        raise ValueError(f"{name}: x holds values that are NaN or infinite")
    return x, y.long()


def _parts(model: Any, split_at: int | None, classes: int) -> tuple[nn.Module, list[nn.Module]]:
    """(frozen trunk, the tail's parts without a classifier)."""
    if isinstance(model, nn.Sequential):
        if split_at is None or not 0 <= split_at < len(model):
            raise ValueError(f"split_at = {split_at} is out of range: 0 ≤ split_at < {len(model)}, the model's parts")
        trunk, tail = model[:split_at], [*model[split_at:]]
    elif isinstance(model, tuple) and len(model) == 2:
        trunk, tail = model[0], [*model[1]] if isinstance(model[1], nn.Sequential) else [model[1]]
    else:
        raise ValueError(f"model is a {type(model).__name__}; a torch.nn.Sequential or (trunk, tail) is needed")
    if isinstance(tail[-1], nn.Linear) and tail[-1].out_features == classes:
        tail = tail[:-1]
    return freeze(trunk), tail


@torch.inference_mode()
def _features(trunk: nn.Module, x: Tensor, device: torch.device) -> Tensor:
    """The trunk's output (n, …) in main memory, which training reads batch by batch."""
    parts = [trunk(part.to(device)).float().cpu() for part in x.split(EVALUATION_BATCH)]
    features = torch.cat(parts).clone()
    if not torch.isfinite(features).all():
        raise ValueError("the trunk's output holds values that are NaN or infinite")
    return features


def _shards(shards: int | Sequence[npt.ArrayLike], count: int) -> list[npt.NDArray[np.int64]]:
    if isinstance(shards, int):
        if not 1 <= shards <= count:
            raise ValueError(f"shards = {shards} is out of range: 1 ≤ shards ≤ {count}, the training samples")
        order = noise.generator(0, "shards").permutation(count)
        return [np.sort(part) for part in np.array_split(order, shards)]
    held = [np.asarray(part, np.int64) for part in shards]
    for client, part in enumerate(held):
        if len(part) == 0 or part.min() < 0 or part.max() >= count:
            raise ValueError(f"shards: client {client} holds no samples, or some beyond the {count} there are")
    return held
