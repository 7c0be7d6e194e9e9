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


def test_auto_is_float32_on_a_processor_and_bfloat16_on_cuda() -> None:
    found = [device.products("auto", torch.device(name)) for name in ("cpu", "mps", "cuda")]
    assert found == [torch.float32, torch.float32, torch.bfloat16]


@pytest.mark.usefixtures("tiny_cache")
def test_in_bfloat16_only_the_products_of_training_are_rounded() -> None:
    """To 8 bits of mantissa: the gradient is near float32's and not equal to it, and evaluation is the same."""
    tasks = [load_task(tiny.config(precision=precision)) for precision in ("float32", "bfloat16")]
    gradients, evaluated = [], []
    head = np.random.default_rng(0).normal(size=tasks[0].head_size).astype(np.float32)
    for task in tasks:
        evaluated.append(task.pooled(task.test_x, task.tail.weights))
        step = ScoreStep(task, head, to_fixed(np.full(task.d, 0.9)), 0.1, 1e-8, np.random.SFC64(0))
        step.draw()
        step.learn(torch.arange(8))
        assert task.tail.grad.dtype == step.scores.dtype == torch.float32
        gradients.append(task.tail.grad.clone())
    assert torch.equal(*evaluated)
    apart = (gradients[0] - gradients[1]).norm() / gradients[0].norm()
    assert 0 < apart < 0.05, apart


@pytest.mark.usefixtures("tiny_cache")
def test_a_processor_without_bfloat16_is_said_to_be_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    for has, notes in ((True, 0), (False, 1)):
        said: list[str] = []
        monkeypatch.setattr(device, "multiplies_bfloat16", lambda has=has: has)
        load_task(tiny.config(precision="bfloat16"), lambda what, done, total: said.append(what))  # noqa: B023
        assert len([what for what in said if "float32 would be faster" in what]) == notes
