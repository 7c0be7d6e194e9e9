"""Local training and evaluation: the only place where gradients flow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from deltamask.config import RunConfig, Schedule
from deltamask.masking import noise
from deltamask.masking.masks import ONE, SCORE_CLIP, Theta, to_fixed, to_float
from deltamask.task.device import mixed_precision
from deltamask.task.task import Task
from deltamask.training import adapters

Head = npt.NDArray[np.float32]  # (classes · (features + 1),): weights row by row, then biases


def scheduled(value: float, schedule: Schedule, round: int, rounds: int) -> float:
    """A value constant over the rounds 1 … rounds, or lowered by half a cosine from `value` towards 0."""
    return value if schedule == "constant" else value * 0.5 * (1 + math.cos(math.pi * (round - 1) / rounds))


def split_head(head: Head, task: Task) -> tuple[Tensor, Tensor]:
    """(weight of shape (classes, features), bias of shape (classes,)) as tensors that share no memory with `head`."""
    flat = torch.from_numpy(head.copy())
    cut = len(task.classes) * task.num_features
    return flat[:cut].view(len(task.classes), task.num_features), flat[cut:]


def batches(shard: npt.NDArray[np.int64], batch_size: int, epochs: int, rng: np.random.Generator) -> Iterator[Tensor]:
    """Sample indices batch by batch, shuffled anew each epoch."""
    for _ in range(epochs):
        order = torch.from_numpy(rng.permutation(shard))
        yield from order.split(batch_size)


@dataclass(frozen=True)
class Trained:
    """What local training leaves behind. theta: (d,) fixed point. loss: mean over the last epoch's batches."""

    theta: Theta
    loss: float


class ScoreStep:
    """One local step on the scores s = logit θ, in three parts: draw a mask, learn with it, update the scores.

    All buffers are (d,) and live as long as the client's training; the tail computes on views of its own flat vectors,
    so nothing is gathered or scattered layer by layer. bits: private randomness, 16 bits of it a position and step;
    None for masks by threshold, m = [s > 0] (FedMask).
    """

    def __init__(
        self, task: Task, head: Head, theta: Theta, lr: float, eps: float, bits: np.random.BitGenerator | None
    ) -> None:
        self.task, self.tail, self.bits = task, task.tail, bits
        self.weight, self.bias = (part.to(task.device) for part in split_head(head, task))
        self.scores = torch.from_numpy(to_float(theta)).to(task.device).logit_().requires_grad_(True)
        self.scores.grad = torch.empty_like(self.scores)
        self.optimizer = torch.optim.Adam([self.scores], lr=lr, eps=eps, fused=True)
        self.probability, self.scratch = torch.empty_like(self.scores.grad), torch.empty_like(self.scores.grad)
        self.mask = torch.empty_like(self.scores.grad, dtype=torch.bool)

    @torch.no_grad()
    def draw(self) -> None:
        """m ~ Bernoulli(σ(s)), and m ⊙ w into the tail: 16-bit words, read as integers in [−2¹⁵, 2¹⁵), against θ."""
        torch.sigmoid(self.scores, out=self.probability)
        if self.bits is None:
            torch.gt(self.scores, 0, out=self.mask)
            torch.mul(self.tail.weights, self.mask, out=self.tail.effective)
            return
        words = self.bits.random_raw(-(-self.task.d // 4)).view(np.int16)[: self.task.d]
        self.scratch.copy_(torch.from_numpy(words)).add_(ONE // 2).div_(ONE)
        torch.lt(self.scratch, self.probability, out=self.mask)
        torch.mul(self.tail.weights, self.mask, out=self.tail.effective)

    def learn(self, index: Tensor) -> Tensor:
        """Cross-entropy of the masked network on the samples `index`, its gradient left in the tail."""
        self.tail.grad.zero_()
        device = self.task.device
        with mixed_precision(device):
            pooled = self.tail(self.task.train_x[index].to(device)).float()
        logits = functional.linear(pooled, self.weight, self.bias)
        loss = functional.cross_entropy(logits, self.task.train_y[index].to(device))
        loss.backward()
        return loss.detach()

    @torch.no_grad()
    def update(self) -> None:
        """Straight through the draw: ∂L/∂s = ∂L/∂(m⊙w) · w · θ(1 − θ). Then Adam, and the scores' clip."""
        torch.mul(self.tail.grad, self.tail.weights, out=self.scores.grad)
        torch.addcmul(self.probability, self.probability, self.probability, value=-1, out=self.scratch)
        self.scores.grad.mul_(self.scratch)  # type: ignore[union-attr]
        self.optimizer.step()
        self.scores.clamp_(-SCORE_CLIP, SCORE_CLIP)


def train_scores(
    task: Task, head: Head, theta: Theta, config: RunConfig, *, round: int, client: int, threshold: bool = False
) -> Trained:
    """Step 4 of the round: E local epochs on the scores, with a fresh Bernoulli mask each step and a fresh Adam.

    threshold: m = [θ > ½] instead of a Bernoulli draw.
    Raises FloatingPointError if the scores are no longer finite.
    """
    shard = task.shards[client]
    rng = noise.generator(config.seed, "batches", round=round, client=client)
    private = np.random.SFC64(noise.key(config.seed, "local mask", round=round, client=client))
    lr = scheduled(config.lr, config.lr_schedule, round, config.rounds)
    step = ScoreStep(task, head, theta, lr, config.adam_eps, None if threshold else private)
    losses: list[Tensor] = []
    for index in batches(shard, config.batch_size, config.local_epochs, rng):
        step.draw()
        losses.append(step.learn(index))
        step.update()
    if not torch.isfinite(step.scores).all():
        raise FloatingPointError("scores are no longer finite: lower lr")
    steps = -(-len(shard) // config.batch_size)
    theta_client = to_fixed(torch.sigmoid(step.scores.detach().cpu().double()).numpy())
    return Trained(theta_client, float(torch.stack(losses[-steps:]).mean()))


Values = npt.NDArray[np.float32]  # a flat vector of whatever is trained densely, the head last


def train_weights(task: Task, values: Values, config: RunConfig, *, round: int, client: int) -> tuple[Values, float]:
    """FedAvg's local work: E epochs of Adam on the tail's weights and the head. Returns (values, last epoch's loss).

    values: (d + head_size,). Raises FloatingPointError if they are no longer finite.
    """
    task.tail.effective.copy_(torch.from_numpy(values[: task.d].copy()))
    weights = task.tail.effective.detach().requires_grad_(True)  # shares its memory: a step on it is one on the module
    weights.grad = task.tail.grad

    def forward() -> None:
        task.tail.grad.zero_()

    loss, head = _train_with_head(
        task, values[task.d :], [weights], forward, lambda: None, config, round=round, client=client
    )
    return _finite(np.concatenate([weights.detach().cpu().numpy(), head])), loss


def train_adapters(task: Task, values: Values, config: RunConfig, *, round: int, client: int) -> tuple[Values, float]:
    """The same for LoRA's adapters (arXiv 2106.09685) and the head. values: (adapters' size + head_size,)."""
    size = len(values) - task.head_size
    flat = torch.from_numpy(values[:size].copy()).to(task.device).requires_grad_(True)
    flat.grad = torch.empty_like(flat)
    pairs = adapters.split(flat.detach(), task.tail, config.lora_rank)
    gradients = adapters.split(flat.grad, task.tail, config.lora_rank)

    def forward() -> None:
        task.tail.grad.zero_()
        task.tail.effective.copy_(adapters.effective(task.tail, pairs))

    def gather() -> None:
        adapters.chain_gradients(task.tail, pairs, gradients)

    loss, head = _train_with_head(task, values[size:], [flat], forward, gather, config, round=round, client=client)
    return _finite(np.concatenate([flat.detach().cpu().numpy(), head])), loss


def _train_with_head(
    task: Task, head: Head, parameters: list[Tensor], before: Callable[[], None], after: Callable[[], None],
    config: RunConfig, *, round: int, client: int,
) -> tuple[float, Head]:  # fmt: skip
    """The loop of both. before: make the tail ready; after: turn the tail's gradient into the parameters'."""
    weight, bias = (part.to(task.device).requires_grad_(True) for part in split_head(head, task))
    lr = scheduled(config.weight_lr, config.lr_schedule, round, config.rounds)
    optimizer = torch.optim.Adam([*parameters, weight, bias], lr=lr, fused=True)
    rng = noise.generator(config.seed, "batches", round=round, client=client)
    losses: list[Tensor] = []
    for index in batches(task.shards[client], config.batch_size, config.local_epochs, rng):
        before()
        weight.grad = bias.grad = None
        with mixed_precision(task.device):
            pooled = task.tail(task.train_x[index].to(task.device)).float()
        labels = task.train_y[index].to(task.device)
        loss = functional.cross_entropy(functional.linear(pooled, weight, bias), labels)
        loss.backward()
        losses.append(loss.detach())
        after()
        optimizer.step()
    steps = -(-len(task.shards[client]) // config.batch_size)
    trained = torch.cat([weight.detach().reshape(-1), bias.detach()]).cpu().numpy()
    return float(torch.stack(losses[-steps:]).mean()), trained


def _finite(values: Values) -> Values:
    if not np.isfinite(values).all():
        raise FloatingPointError("weights are no longer finite: lower weight_lr")
    return values


def train_head(
    task: Task, head: Head, config: RunConfig, *, epochs: int, round: int, client: int
) -> tuple[Head, float]:
    """Local epochs of linear probing: Adam on the head, on the unmasked network's output. Returns (head, last loss)."""
    weight, bias = (part.clone().requires_grad_(True) for part in split_head(head, task))
    optimizer = torch.optim.Adam([weight, bias], lr=config.probe_lr, fused=True)
    rng = noise.generator(config.seed, "head batches", round=round, client=client)
    loss = torch.zeros(())
    for index in batches(task.shards[client], config.batch_size, epochs, rng):
        optimizer.zero_grad(set_to_none=True)
        logits = functional.linear(task.pooled_train[index], weight, bias)
        loss = functional.cross_entropy(logits, task.train_y[index])
        loss.backward()
        optimizer.step()
    return torch.cat([weight.detach().reshape(-1), bias.detach()]).numpy(), float(loss.detach())


@dataclass(frozen=True)
class Evaluation:
    """On the test set. class_accuracy: (classes,), NaN for a class without test images."""

    accuracy: float
    loss: float
    class_accuracy: npt.NDArray[np.float64]


def evaluate(task: Task, effective: Tensor, head: Head) -> Evaluation:
    """Accuracy and cross-entropy of the network with tail weights `effective` (d,) and classifier `head`."""
    weight, bias = split_head(head, task)
    logits = functional.linear(task.pooled(task.test_x, effective), weight, bias)
    hits = (logits.argmax(1) == task.test_y).numpy()
    labels = task.test_y.numpy()
    per_class = [
        hits[labels == label].mean() if (labels == label).any() else np.nan for label in range(len(task.classes))
    ]
    return Evaluation(float(hits.mean()), float(functional.cross_entropy(logits, task.test_y)), np.array(per_class))


def client_accuracy(evaluation: Evaluation, label_counts: npt.NDArray[np.int64]) -> float:
    """The server model's accuracy for a client: test accuracy by class, weighted with the client's own label shares.

    An exact expectation over the test set, with no test images set aside for each client.
    """
    tested = ~np.isnan(evaluation.class_accuracy)
    weight = np.where(tested, label_counts, 0)
    return (
        float(np.nan_to_num(evaluation.class_accuracy) @ weight / weight.sum()) if weight.sum() else evaluation.accuracy
    )
