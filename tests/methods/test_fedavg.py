"""Methods that send weights, and what happens to a round when clients are odd or vanish."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from deltamask import methods, training
from deltamask.codecs.mask import decode_mask
from deltamask.codecs.updates import UpdateContext, updates
from deltamask.codecs.wire.message import unseal
from deltamask.masking import noise
from deltamask.masking.masks import ONE
from deltamask.simulation.delivery import sampled_clients
from deltamask.simulation.loop import simulate
from deltamask.task.task import Task, load_task
from deltamask.training import adapters
from tests.support import tiny
from tests.support.tiny import Witness, assert_same_state


@pytest.fixture(scope="module")
def task(tiny_cache: Path) -> Task:
    return load_task(tiny.config())


def head_of(task: Task) -> np.ndarray:
    return np.random.default_rng(2).normal(0, 0.3, task.head_size).astype(np.float32)


# Local training against plain PyTorch


def test_training_weights_is_adam_on_a_copy_of_the_network(task: Task) -> None:
    config = tiny.config(method="finetune", weight_lr=0.003, local_epochs=2)
    start = np.concatenate([task.tail.weights.numpy(), head_of(task)])
    ours, loss = training.train_weights(task, start, config, round=1, client=2)

    task.tail.effective.copy_(task.tail.weights)
    network = copy.deepcopy(task.tail.module)  # its parameters are tensors of its own, with gradients of their own
    weights = [part.weight for part in network.modules() if isinstance(part, torch.nn.Linear | torch.nn.Conv2d)]
    for weight in weights:
        weight.grad = None
    classifier, bias = (part.clone().requires_grad_(True) for part in training.split_head(start[task.d :], task))
    optimizer = torch.optim.Adam([*weights, classifier, bias], lr=0.003)
    rng = noise.generator(config.seed, "batches", round=1, client=2)
    losses = []
    for index in training.batches(task.shards[2], config.batch_size, 2, rng):
        optimizer.zero_grad()
        logits = functional.linear(network(task.train_x[index]), classifier, bias)
        step_loss = functional.cross_entropy(logits, task.train_y[index])
        step_loss.backward()
        optimizer.step()
        losses.append(float(step_loss.detach()))
    theirs = torch.cat([part.detach().reshape(-1) for part in (*weights, classifier, bias)]).numpy()
    assert np.abs(theirs - start).max() > 0.01  # it moved
    np.testing.assert_allclose(ours, theirs, atol=2e-4)
    assert loss == pytest.approx(np.mean(losses[len(losses) // 2 :]), rel=1e-3)


def test_the_adapters_gradient_is_that_of_the_loss(task: Task) -> None:
    """Against central differences along random directions, in double precision."""
    tail = copy.deepcopy(task.tail)
    tail.module.double()
    rank = 3
    flat = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, adapters.size(task.tail, rank)))
    index = torch.arange(64)
    weight, bias = (part.double() for part in training.split_head(head_of(task), task))

    def loss_at(values: torch.Tensor) -> torch.Tensor:
        effective = task.tail.weights.double()
        for layer, a, b in adapters.split(values, task.tail, rank):
            effective[layer.start : layer.stop] += (b @ a).reshape(-1)
        parameters = {
            f"{layer.name}.weight": effective[layer.start : layer.stop].view(layer.shape) for layer in task.tail.layers
        }
        pooled = torch.func.functional_call(tail.module, parameters, (task.train_x[index].double(),))
        return functional.cross_entropy(functional.linear(pooled, weight, bias), task.train_y[index])

    task.tail.grad.zero_()
    task.tail.effective.copy_(adapters.effective(task.tail, adapters.split(flat.float(), task.tail, rank)))
    logits = functional.linear(task.tail(task.train_x[index]), weight.float(), bias.float())
    functional.cross_entropy(logits, task.train_y[index]).backward()
    gradient = torch.empty(len(flat))
    adapters.chain_gradients(
        task.tail, adapters.split(flat.float(), task.tail, rank), adapters.split(gradient, task.tail, rank)
    )
    rng = np.random.default_rng(1)
    with torch.no_grad():
        for _ in range(5):
            direction = torch.from_numpy(rng.normal(size=len(flat)))
            slope = (loss_at(flat + 1e-5 * direction) - loss_at(flat - 1e-5 * direction)) / 2e-5
            assert float(gradient.double() @ direction) == pytest.approx(float(slope), rel=2e-3, abs=1e-5)


def test_adapters_change_nothing_at_first_and_only_matrices_have_them(task: Task) -> None:
    flat = torch.from_numpy(adapters.initial(task.tail, 4, seed=0))
    assert torch.equal(adapters.effective(task.tail, adapters.split(flat, task.tail, 4)), task.tail.weights)
    assert [layer.shape for layer in adapters.adapted(task.tail)] == [(tiny.FEATURES, 4 * tiny.WIDTH)]
    assert len(flat) == 4 * (tiny.FEATURES + 4 * tiny.WIDTH)
    assert float(flat.abs().max()) > 0.05
    np.testing.assert_array_equal(flat.numpy(), adapters.initial(task.tail, 4, seed=0))
    assert not np.array_equal(flat.numpy(), adapters.initial(task.tail, 4, seed=1))


# The server's average


@pytest.mark.parametrize(("name", "changes"), [("finetune", {}), ("eden", {}), ("lora", {"update_codec": "fp16"})])
def test_the_server_adds_the_average_change_weighted_by_samples(task: Task, name: str, changes: dict[str, str]) -> None:
    config = tiny.config(method=name, server_lr=0.5, **changes)
    method = methods.get(name)
    state = method.init(task, config, head_of(task))
    memory = method.receive(task, config, 1, method.broadcast(config, state, 1), None)
    payloads = {client: method.client_update(task, config, 1, client, memory).payload for client in (0, 2)}
    after = method.server_update(config, state, 1, iter(payloads.items()), lambda receipt: None)
    codec = updates[{"finetune": "fp32", "eden": "eden1", "lora": "fp16"}[name]]
    changed = {
        client: codec.decode(payload, len(state.values), UpdateContext(config.seed, 1, client)).astype(np.float64)
        for client, payload in payloads.items()
    }
    sizes = {client: len(task.shards[client]) for client in (0, 2)}
    assert sizes[0] != sizes[2]
    mean = sum(sizes[client] * changed[client] for client in (0, 2)) / sum(sizes.values())
    assert np.abs(mean).max() > 1e-4
    np.testing.assert_allclose(after.values, state.values + 0.5 * mean, rtol=1e-5, atol=1e-7)


def test_fedmask_sends_thresholded_masks_and_its_scores_can_cross_back(task: Task) -> None:
    config = tiny.config(method="fedmask", lr=0.5, rounds=3)
    witness = Witness()
    list(simulate(config, task=task, observer=witness))
    crossed_back = 0
    for round in (1, 2, 3):
        before, after = witness.checkpoints[round - 1].state, witness.checkpoints[round].state
        votes = np.zeros(task.d, np.int32)
        off = before.theta < ONE // 2
        for client in range(4):
            body = unseal(witness.payloads[round, client], "mask", round, client, task.d)
            sent = decode_mask(body, task.d)
            trained = training.train_scores(
                task, before.head, before.theta, config, round=round, client=client, threshold=True
            )
            np.testing.assert_array_equal(sent, trained.theta > ONE // 2)
            votes += sent
            crossed_back += int((off & sent).sum())
        np.testing.assert_array_equal(after.theta > ONE // 2, votes > 2)  # two of four leave it at exactly ½
        scores = np.log(after.theta / (ONE - after.theta.astype(float)))
        assert np.abs(scores).max() < 1.001
    assert crossed_back > 0


# Odd clients


@pytest.mark.parametrize("name", methods.names())
def test_clients_with_one_sample_or_one_class_take_part(name: str, tiny_cache: Path) -> None:
    config = tiny.config(
        method=name, clients=8, dirichlet_alpha=0.01, min_client_samples=1, train_samples=60, rounds=1, batch_size=8
    )
    task = load_task(config)
    sizes, kinds = task.label_counts.sum(1), (task.label_counts > 0).sum(1)
    assert sizes.min() == 1
    assert (kinds == 1).any()
    record = list(simulate(config, task=task))[-1]
    assert len(record.clients) == 8
    assert [client.dropped for client in record.clients] == [None] * 8
    assert np.isfinite(record.accuracy)


@pytest.mark.parametrize("name", ["deltamask", "fedpm", "finetune"])
def test_a_client_whose_training_diverges_is_reported_and_the_round_goes_on(
    name: str, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Client 2's features are NaN: so are its gradients and its scores."""
    broken = copy.copy(task)
    features = task.train_x.clone()
    features[torch.from_numpy(task.shards[2])] = float("nan")
    object.__setattr__(broken, "train_x", features)
    vars(broken).pop("pooled_train", None)
    config = tiny.config(method=name, rounds=2, probe_epochs=1)
    witness = Witness()
    start = next(iter(simulate(config, task=task, observer=witness)))
    assert start.round == 0
    records = list(simulate(config, task=broken, start=witness.checkpoints[0]))
    for record in records:
        assert record.skipped is None
        dropped = {client.client: client.dropped for client in record.clients}
        assert "no longer finite" in str(dropped.pop(2))
        assert set(dropped.values()) == {None}
        assert np.isfinite(record.loss)


def test_clients_vanish_as_often_as_asked_and_the_others_go_on(task: Task) -> None:
    config = tiny.config(method="fedpm", dropout=0.5, rounds=12, probe_epochs=1)
    records = list(simulate(config, task=task))
    vanished = [client for record in records for client in record.clients if client.dropped]
    assert {client.dropped for client in vanished} == {"vanished before it answered"}
    assert 13 <= len(vanished) <= 39  # of 52; binomial, four standard deviations to each side
    for record in records:
        answered = [client for client in record.clients if not client.dropped]
        assert record.uplink_bytes == sum(client.uplink_bytes for client in answered)
        assert (record.skipped is None) == bool(answered)
        assert record.downlink_bytes > 0  # they were sent the broadcast all the same


def test_a_round_without_any_client_is_skipped_and_says_so(task: Task) -> None:
    for seed in range(200):
        config = tiny.config(clients=2, rho=1.0, dropout=0.7, rounds=2, seed=seed, probe_epochs=1)
        gone = [
            all(
                noise.generator(seed, "dropout", round=round, client=client).random() < 0.7
                for client in sampled_clients(config, round)
            )
            for round in range(3)
        ]
        if gone == [False, True, False]:
            break
    witness = Witness()
    records = list(simulate(config, observer=witness))
    assert [bool(record.skipped) for record in records] == gone
    assert "the server model stays as it was" in str(records[1].skipped)
    np.testing.assert_array_equal(witness.checkpoints[0].state.theta, witness.checkpoints[1].state.theta)
    assert not np.array_equal(witness.checkpoints[1].state.theta, witness.checkpoints[2].state.theta)
    with pytest.raises(AssertionError):
        assert_same_state(witness.checkpoints[1].state, witness.checkpoints[2].state)
