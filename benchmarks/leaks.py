"""What messages give away, measured from the payloads alone: labels, which messages are one client's, single images.

    python benchmarks/leaks.py --write [--seeds 1 2]   # data/results/leaks-*.csv, and the tables of docs/privacy.md
    python benchmarks/leaks.py --tables                # make those tables again from what is stored
    python benchmarks/leaks.py --quick                 # does it run? a few images, nothing written

Some five minutes of a core for a seed, a third of it for the arm with noise. What is stored of other seeds stays.

Two rounds of the arms of the study `privacy`, with ten clients of 300 images. The attacker is the server: it has θ_g,
the public noise, the head, the backbone, the config and what it decodes. Its own labelled images are the test images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import audited_head
import numpy as np
import pandas as pd
import torch
import tyro
from torch.nn import functional

from deltamask.base.paths import results_dir
from deltamask.codecs import codecs
from deltamask.codecs.updates import UpdateContext, updates
from deltamask.config import RunConfig
from deltamask.masking import noise
from deltamask.masking.masks import to_float
from deltamask.methods import deltamask, fedpm
from deltamask.methods.base import Method, State
from deltamask.methods.head_round import method_of
from deltamask.privacy import leaks
from deltamask.privacy.leaks import Update
from deltamask.simulation.loop import Checkpoint, Observer, client_round, simulate
from deltamask.simulation.records import RoundRecord
from deltamask.studies import leaks as study
from deltamask.task.task import Task, load_task
from deltamask.training.head import split_head

BASE = RunConfig(
    dataset="fashion-mnist-mini", train_samples=3000, test_samples=2000, clients=10, rounds=40, min_client_samples=64,
    head_init="unit-means", head_temperature=1.0, device="cpu", keep_payloads="none", lr=0.03, weight_lr=1e-4,
    aggregation="unbiased", codec="gap",
)  # fmt: skip
ALIKE = 10_000.0  # α at which clients differ in nothing but which images they hold
ARMS: dict[str, tuple[dict[str, Any], tuple[float, ...]]] = {  # what an arm changes, and at which α it is read
    "deltamask": ({}, (0.1, 10.0, ALIKE)),
    "fedpm": ({"method": "fedpm"}, (0.1, 10.0, ALIKE)),
    "finetune": ({"method": "finetune"}, (0.1, 10.0, ALIKE)),
    "deltamask-dp": ({"dp": "samples", "dp_epsilon": study.EPSILON}, (0.1,)),
}
ROUNDS = 2  # whose messages are read
MOST = 20  # images of a class and client that are asked for membership
STEP = 0.1  # of the client's update that the attacker's network takes
SMALL = {"train_samples": 300, "test_samples": 100, "batch_size": 16,
         "min_client_samples": 1, "clients": 3}  # fmt: skip


class Seen(Observer):
    """What the server holds: payloads by (round, client), and its own state after each round."""

    def __init__(self) -> None:
        self.payloads: dict[tuple[int, int], bytes] = {}
        self.states: dict[int, State] = {}

    def payload(self, round: int, client: int, order: int, suffix: str, payload: bytes) -> None:
        self.payloads[round, client] = payload

    def finished(self, record: RoundRecord, checkpoint: Checkpoint) -> None:
        self.states[record.round] = checkpoint.state


@dataclass(frozen=True)
class Run:
    """A run's first rounds, and the task that its clients train on."""

    config: RunConfig
    task: Task
    seen: Seen

    def method(self, round: int) -> Method:
        return method_of(self.config, round, self.task.label_counts)

    def updates(self, round: int, codec: str | None = None) -> np.ndarray:
        """(clients, d) as decoded; codec: the same flips sent by another codec."""
        sent = [self.seen.payloads[round, client] for client in range(self.config.clients)]
        return np.stack([self.read(round, client, payload, codec) for client, payload in enumerate(sent)])

    def read(self, round: int, client: int, payload: bytes, codec: str | None = None) -> Update:
        """What one payload says of its client's training."""
        state, config = self.seen.states[round - 1], self.config
        kind = self.method(round).sends
        if kind == "flips":
            known = deltamask.context(config, state.theta, state.layers, round, client)
            flips = codecs[config.codec].decode(payload, known)
            if codec is not None:
                flips = codecs[codec].decode(codecs[codec].encode(flips, known), known)
            return leaks.update_of_flips(state.theta, known.noise.words(0, known.d), flips)
        if kind == "masks":
            known = fedpm.context(config, state.theta, state.layers, round, client)
            return leaks.update_of_mask(state.theta, fedpm.mask_codec(config).unseal(payload, known))
        wire = updates[config.update_codec]
        return wire.decode(payload, len(state.values), UpdateContext(config.seed, round, client))


def first_rounds(config: RunConfig, task: Task) -> Run:
    seen = Seen()
    for record in simulate(config, task=task, observer=seen):
        if record.round == ROUNDS:
            break
    return Run(config, task, seen)


def answers(run: Run, task: Task, round: int) -> np.ndarray:
    """(clients, d) what clients would have sent in this round if they had held `task`'s samples."""
    method, state = run.method(round), run.seen.states[round - 1]
    opens = method.broadcast if round == 1 or method.snapshot is None else method.snapshot
    memory = method.receive(task, run.config, round, opens(run.config, state, round), None)
    found = []
    for client in range(run.config.clients):
        upload = client_round(method, task, run.config, round, client, memory)
        assert not isinstance(upload, str), upload
        found.append(run.read(round, client, upload.payload))
    return np.stack(found)


def references(run: Run, round: int) -> np.ndarray:
    """(classes, d) the attacker's own training, from the server's state, on its images of one class at a time."""
    task, state, method = run.task, run.seen.states[round - 1], run.method(round)
    labels = task.test_y.numpy()
    shards = [np.flatnonzero(labels == label) for label in range(len(task.classes))]
    own = replace(task, train_x=task.test_x, train_y=task.test_y, shards=shards, holdings=None)
    config = run.config.replace(dp="none", dp_epsilon=RunConfig().dp_epsilon)
    assert method.alone is not None
    after = [method.alone(own, config, state, round, label) for label in range(len(shards))]
    return np.stack([vector(each) - vector(state) for each in after])


def vector(state: State) -> np.ndarray:
    """θ, or the values that are trained."""
    return to_float(state.theta) if hasattr(state, "theta") else state.values


def shuffled(task: Task, seed: int) -> Task:
    """The same images with the labels of others."""
    order = noise.generator(seed, "leaks labels").permutation(len(task.train_y))
    return replace(task, train_y=task.train_y[torch.from_numpy(order)], holdings=None)


def dealt_anew(task: Task, seed: int) -> Task:
    """As many samples for each client, drawn from all anew."""
    order = noise.generator(seed, "leaks shards").permutation(np.concatenate(task.shards))
    ends = np.cumsum([len(shard) for shard in task.shards])[:-1]
    return replace(task, shards=[np.sort(part) for part in np.split(order, ends)], holdings=None)


def losses(run: Run, round: int, update: np.ndarray, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """(n,) of the server's network after STEP of an update: w ⊙ (θ_g + step · update), or values + step · update."""
    task, state = run.task, run.seen.states[round - 1]
    moved = torch.from_numpy((vector(state) + STEP * update).astype(np.float32))
    head = state.head if hasattr(state, "theta") else moved[task.d :].numpy()
    effective = task.tail.weights * moved if hasattr(state, "theta") else moved[: task.d]
    weight, bias = split_head(head, task)
    with torch.inference_mode():
        task.tail.effective.copy_(effective)
        logits = functional.linear(task.tail(x), weight, bias)
        return functional.cross_entropy(logits, y, reduction="none").numpy()


def membership(run: Run, sent: dict[int, np.ndarray], client: int) -> dict[str, float]:
    """Is an image the client's? Scored by how far the client's updates lower its loss, summed over the rounds."""
    task, rng = run.task, noise.generator(run.config.seed, "leaks members", client=client)
    shard, labels, other = task.shards[client], task.train_y.numpy(), task.test_y.numpy()
    held, rest = leaks.matched(labels[shard], other, MOST, rng)
    held = shard[held]
    x = torch.cat([task.train_x[held], task.test_x[rest]])
    y = torch.cat([task.train_y[held], task.test_y[rest]])
    nothing = np.zeros_like(next(iter(sent.values()))[client])
    score = sum(
        losses(run, round, nothing, x, y) - losses(run, round, each[client], x, y) for round, each in sent.items()
    )
    inside, outside = np.split(np.asarray(score), [len(held)])
    half = rng.permutation(len(outside)) < len(outside) // 2
    return {
        "auc": leaks.auc(inside, outside), "tpr": leaks.true_positives(inside, outside),
        "auc_control": leaks.auc(outside[half], outside[~half]),
        "tpr_control": leaks.true_positives(outside[half], outside[~half]),
    }  # fmt: skip


def of_clients(run: Run, sent: dict[int, np.ndarray], control: np.ndarray, own: np.ndarray) -> Iterator[dict[str, Any]]:
    """A line a client. sent: round → updates; control: of round 1, under shuffled labels; own: references of it."""
    counts = run.task.label_counts
    prior = counts.sum(0) / counts.sum()
    for client, truth in enumerate(counts / counts.sum(1, keepdims=True)):
        guess = leaks.label_shares(sent[1][client], own)
        blind = leaks.label_shares(control[client], own)
        line: dict[str, Any] = {"client": client}
        for name, shares in (("", guess), ("_prior", prior), ("_control", blind)):
            line[f"tv{name}"] = leaks.total_variation(shares, truth)
            line[f"mae{name}"] = float(np.abs(shares - truth).mean())
        yield line | membership(run, sent, client) | {"guess": guess, "truth": truth}


def of_run(run: Run, name: str, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Lines of each table from one run."""
    sent = {round: run.updates(round) for round in range(1, ROUNDS + 1)}
    alpha = run.config.dirichlet_alpha
    key = {"sent": name, "alpha": alpha, "seed": seed}
    if alpha == ALIKE:
        later = {"alike": sent[2], "dealt anew": answers(run, dealt_anew(run.task, seed), 2)}
        links = [
            {**key, "control": control, **leaks.linkability(sent[1], each)._asdict()} for control, each in later.items()
        ]
        return {"clients": [], "links": links, "shares": []}
    own, control = references(run, 1), answers(run, shuffled(run.task, seed), 1)
    ways = {name: sent}
    if name == "deltamask":
        ways["deltamask-bfuse8"] = {round: run.updates(round, "bfuse8") for round in sent}
    lines: dict[str, list[dict[str, Any]]] = {"clients": [], "links": [], "shares": []}
    for way, read in ways.items():
        at = {**key, "sent": way}
        lines["links"].append({**at, "control": "", **leaks.linkability(read[1], read[2])._asdict()})
        for line in of_clients(run, read, control, own):
            shares = zip(run.task.classes, line.pop("guess"), line.pop("truth"), strict=True)
            lines["clients"].append({**at, **line})
            if seed == study.SHOWN_SEED and alpha == study.SHOWN_ALPHA:
                lines["shares"] += [
                    {"sent": way, "client": line["client"], "label": label, "guess": guess, "truth": truth}
                    for label, guess, truth in shares
                ]
    return lines


def measured(seeds: Sequence[int], small: bool, tell: Callable[[str], None]) -> Iterator[dict[str, pd.DataFrame]]:
    """The tables `clients`, `links` and `shares`, after each seed. small: few images, and no noise."""
    lines: dict[str, list[dict[str, Any]]] = {"clients": [], "links": [], "shares": []}
    for seed in seeds:
        for alpha in (0.1, 10.0, ALIKE):
            config = BASE.replace(**(SMALL if small else {}), seed=seed, dirichlet_alpha=alpha)
            task = load_task(config)
            for name, (changes, alphas) in ARMS.items():
                if alpha in alphas and not (small and "dp" in changes):
                    tell(f"seed {seed}, α {alpha:g}, {name}")
                    for table, found in of_run(first_rounds(config.replace(**changes), task), name, seed).items():
                        lines[table] += found
        yield {name: pd.DataFrame(rows) for name, rows in lines.items()}


def audited(runs: int) -> pd.DataFrame:
    """Lower bounds on ε from attacks on the private head's release, with the noise it takes and with half of it."""
    rows = [
        {"noise": factor, "run": run, "proven": audited_head.PROVEN,
         "bound": audited_head.of_the_head(run, audited_head.agreed(factor)).epsilon}
        for factor in (1.0, 0.5)
        for run in range(runs)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def main(write: bool = False, tables: bool = False, quick: bool = False, seeds: tuple[int, ...] = (0, 1, 2)) -> None:
    """See the top of this file."""
    document = Path(__file__).resolve().parents[1] / "docs" / "privacy.md"
    if not tables:
        torch.set_num_threads(1)
        audits = {"audit": audited(1 if quick else 10)}
        before = study.read(results_dir()) if write else {}
        for found in measured((0,) if quick else seeds, quick, lambda text: print(text, flush=True)):
            if write:
                study.write(study.merged(before, found | audits), results_dir())
            else:
                for name, table in (found | audits).items():
                    print(name, table.round(3).to_csv(index=False), sep="\n")
    if write or tables:
        document.write_text(study.render(document.read_text(), study.read(results_dir())))


if __name__ == "__main__":
    tyro.cli(main)
