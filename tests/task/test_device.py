"""Devices. Only the CPU is everywhere; torch's `meta` device shows that nothing is left behind on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deltamask.backbones.split import Tail
from deltamask.config import RunConfig
from deltamask.masking.masks import to_fixed
from deltamask.simulation.loop import simulate
from deltamask.task import device
from deltamask.task.task import Task, load_task
from deltamask.training import ScoreStep
from tests.support import tiny


def test_auto_takes_what_is_there_and_a_missing_device_is_answered_with_what_is() -> None:
    there = device.available()
    assert there[-1] == "cpu"
    assert device.pick("auto").type == there[0]
    assert device.pick("cpu").type == "cpu"
    for missing in {"cuda", "mps"} - set(there):
        with pytest.raises(device.DeviceError, match=f"'{missing}' is not available here; there is: .*cpu"):
            device.pick(missing)


@pytest.mark.usefixtures("tiny_cache")
def test_a_missing_device_stops_the_run_before_anything_is_computed() -> None:
    missing = ({"cuda", "mps"} - set(device.available())).pop()
    with pytest.raises(device.DeviceError, match=missing):
        next(simulate(tiny.config(device=missing)))


@pytest.mark.usefixtures("tiny_cache")
def test_a_device_by_name_does_what_it_does_by_default() -> None:
    runs = [list(simulate(tiny.config(device=name, rounds=1))) for name in (device.available()[0], "auto")]
    told = [[{**record.to_json(), "seconds": None} for record in run] for run in runs]
    assert told[0] == told[1]


@pytest.mark.usefixtures("tiny_cache")
def test_a_step_on_the_scores_happens_on_the_device_and_nowhere_else() -> None:
    """On `meta`, tensors have a shape and a device but no numbers, and to mix devices raises."""
    real = load_task(tiny.config())
    meta = torch.device("meta")
    task = Task(**{**vars(real), "tail": Tail(tiny.build(1).tail, meta)})
    assert task.device == meta
    step = ScoreStep(
        task, np.zeros(task.head_size, np.float32), to_fixed(np.full(task.d, 0.9)), 0.1, 1e-8, np.random.SFC64(0)
    )
    step.optimizer = torch.optim.Adam([step.scores], lr=0.1)  # the fused one has no kernel for `meta`
    step.draw()
    loss = step.learn(torch.arange(8))
    step.update()
    placed = [step.scores, step.scores.grad, step.mask, step.probability, step.weight, loss]
    placed += [task.tail.effective, task.tail.grad, task.tail.times(np.ones(task.d, np.float32))]
    placed += [step.optimizer.state[step.scores][name] for name in ("exp_avg", "exp_avg_sq")]
    assert {tensor.device.type for tensor in placed if tensor is not None} == {"meta"}


def test_where_it_was_computed_is_no_part_of_what_a_run_is() -> None:
    assert RunConfig(device="cuda").run_id == RunConfig(device="cpu").run_id == RunConfig().run_id
