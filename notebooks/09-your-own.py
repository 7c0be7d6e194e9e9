# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 9 · Your own
#
# **Goal.** Put a method, a partition, a metric and an observer of your own into a run, and get from them an answer that nobody has
# recorded: is it worth choosing *which* flips to send?
#
# *15 minutes to read, about two minutes to run. [All notebooks](index.ipynb) · before this:
# [8 · A fair comparison](08-a-fair-comparison.ipynb) · [the same in the dashboard](http://localhost:8501/learn)*
#
# DeltaMask sends a share κ of the flips, those in which θ moved most (by KL). [Notebook 3](03-what-changed.ipynb) says why that should help. Should is not does. So let
# us build the method that does not choose.
#
# > **Predict first.** A fifth of the flips is sent: the strongest, or a fifth drawn at random. Same network, same split, same bytes or nearly. After eight rounds,
# > which is ahead, and by how many points? And of what two clients send in one round, how much is the same?

# %%
import itertools

import numpy as np
import pandas as pd

from deltamask import Observer, RunConfig, metrics, run, simulate
from deltamask.task.task import load_task
from deltamask.teaching import check, figures

figures.use_theme()

# %% [markdown]
# ## Your own method
#
# A method is what a client does, what the server does, and a name. Most is there to be used: training, drawing masks, codecs, the server's side of DeltaMask. New is one
# line, marked below. Randomness comes from `noise.generator`, keyed by purpose, round and client: a run that is killed must draw the same again.

# %%
import math
from functools import partial

from deltamask import codecs, training
from deltamask.base.stopwatch import Stopwatch
from deltamask.masking import masks, noise
from deltamask.methods import deltamask, masked
from deltamask.methods.base import ClientReport, Upload, methods


def client_update(task, config, round, client, memory):
    known = deltamask.context(config, memory.theta, task.tail.offsets, round, client)
    clock = Stopwatch()
    with clock("train"):
        trained = training.train_scores(
            task, memory.head, memory.theta, config, round=round, client=client
        )
    with clock("encode"):
        flips = masks.flips(trained.theta, memory.theta, known.noise.words(0, task.d))
        random = noise.generator(config.seed, "lottery", round=round, client=client)
        count = math.ceil(config.kappa * len(flips))
        sent = np.sort(random.choice(flips, count, replace=False))  # the new line
        payload = codecs.get("gap").encode(sent, known)
    report = ClientReport(trained.loss, len(flips), flips, sent, seconds=clock.seconds)
    return Upload(payload, ".bin", report)


def codec_of(config):
    return "gap"


methods.register("lottery")(
    masked.method(
        "Lottery",
        "As DeltaMask, with a random share of the flips in place of the strongest.",
        deltamask.LAW,
        client_update,
        partial(deltamask.receive_flips, deltamask.LAW, codec_of),
        sends="flips",
        reads=("noise", "aggregation", "server_lr", "kappa", "check_flips"),
        unread=lambda config: () if config.aggregation == "unbiased" else ("server_lr",),
        flip_codec=codec_of,
    )
)

# %% [markdown]
# It has a name like the others now. Before believing its results, ask it what our own tests ask ours:

# %%
from deltamask.conformance import check as try_laws

for outcome in try_laws("lottery"):
    print(
        f"{'holds ' if outcome.fault is None else 'BROKEN'} {outcome.law} {outcome.fault or ''}"
    )

# %% [markdown]
# ## Your own metric
#
# A metric sees the logits of the server model on the test set and the labels, once a round. It is in every record beside accuracy from now on, also in those of a run folder. This
# one is the share of the worst class that is recognised:


# %%
@metrics.register("worst class")
def worst_class(logits, labels):
    right = logits.argmax(1) == labels
    return min(right[labels == label].mean() for label in np.unique(labels))


# %% [markdown]
# ## Your own observer
#
# An observer is shown everything as it happens. Ours compares what the clients of a round send: of all positions that one of two clients sent, the share that both did.


# %%
def overlap(first, second):
    return len(np.intersect1d(first, second)) / len(np.union1d(first, second))


class Overlap(Observer):
    def __init__(self):
        self.sent, self.shared = {}, {}

    def report(self, round, client, order, report):
        if report.sent is not None:  # in round 0 a head is sent
            self.sent.setdefault(round, []).append(report.sent)

    def finished(self, record, checkpoint):
        pairs = list(itertools.combinations(self.sent.pop(record.round, []), 2))
        if pairs:
            self.shared[record.round] = np.mean([overlap(*pair) for pair in pairs])


# %% [markdown]
# ## The question
#
# Everything but the method is equal, the split and the head of round 0 included.

# %%
config = RunConfig(
    train_samples=1200, test_samples=600, rounds=8, kappa=0.2, codec="gap", aggregation="unbiased", lr=0.3,
)  # fmt: skip
task = load_task(config)
records, overlaps = {}, {}
for method in ("deltamask", "lottery"):
    observer = Overlap()
    records[method] = list(
        simulate(config.replace(method=method), task=task, observer=observer)
    )
    overlaps[method] = np.mean(list(observer.shared.values()))
pd.DataFrame(
    {
        "accuracy, last three rounds": {
            m: np.mean([r.accuracy for r in rows[-3:]]) for m, rows in records.items()
        },
        "worst class": {m: rows[-1].metrics["worst class"] for m, rows in records.items()},
        "bpp up": {m: np.mean([r.bpp_up for r in rows[1:]]) for m, rows in records.items()},
        "sent by both of two clients": overlaps,
    }
).round(4)

# %%
figures.lines(
    [record.round for record in records["lottery"]],
    {method: [record.accuracy for record in rows] for method, rows in records.items()},
    axes=("round", "test accuracy"),
)

# %% [markdown]
# **The answer to the prediction** stands in the table, for one seed. One is not enough to rank two curves that lie a point apart: the exercise below asks for more.
#
# ## Your own partition
#
# Who holds what is a rule as well: from labels to each client's samples. Here the classes are dealt out like cards, so that no two clients have one in common: harder than any
# Dirichlet draw.

# %%
from deltamask.datasets.partitions import Partition, partitions


def camps(labels, clients):
    """Class c goes to client c mod clients, whole."""
    return [np.flatnonzero(labels % clients == client) for client in range(clients)]


partitions.register("camps")(
    Partition(
        label="Camps",
        about="Every class is held by one client alone.",
        reads=(),
        split=lambda labels, clients, values, groups, *, seed: camps(labels, clients),
    )
)
apart = config.replace(partition="camps", min_client_samples=1, rounds=4)
for method in ("deltamask", "lottery"):
    *_, last = simulate(apart.replace(method=method))
    print(
        f"{method:10} accuracy {last.accuracy:.3f}, for its worst client {last.accuracy_worst:.3f}"
    )

# %% [markdown]
# With the classes apart the order is another one, for this seed. Why might that be, and does it hold? You have all it takes to find out: `Overlap`, more seeds, other step sizes.
#
# ## A run that stays
#
# `simulate` forgets. `run` leaves what `deltamask run` leaves: a folder with records, checkpoint and payloads, which the dashboard shows, `deltamask export` mails, and the very same call
# goes on with after an interrupt.

# %%
import tempfile

with tempfile.TemporaryDirectory() as folder:
    kept = run(config.replace(method="lottery", rounds=2), f"{folder}/lottery")
    again = run(config.replace(method="lottery", rounds=3), f"{folder}/lottery")
    print(kept, "and then", again)
    payload = again.payloads(3)[0]
    print(payload, "holds", len(payload.decode()), "positions")
    columns = again.rounds[["round", "accuracy", "metric_worst class", "bpp_up"]]
columns.round(4)

# %% [markdown]
# To use any of this outside the notebook, put it into a module of a package of yours, and name the module in an entry point: [Bring your own](../docs/extending.md) shows one. Command line,
# form and charts then have it, and `deltamask check lottery` tries the laws.
#
# ## Exercises
#
# **1.** A partition in which clients differ in *size* alone: of samples 0, …, n − 1, client k gets those from n·k²/N² to n·(k+1)²/N² (rounded down, the last excluded). Return a list of index arrays.


# %% tags=["exercise"]
def growing(labels, clients):
    return ...


check(growing)

# %% [markdown]
# **2.** The overlap that two clients have by chance, if each sends `count` of `d` positions at random: the expected size of what both sent, over the expected size of what either did.


# %% tags=["exercise"]
def chance_overlap(count, d):
    return ...


check(chance_overlap)

# %% [markdown]
# **3.** (No check.) Run the comparison above with seeds 1 and 2 (`config.replace(seed=…)`), take the differences within seeds, and give them an interval as in notebook 8.
#
# ## What would show this to be wrong?
#
# - **A method that cheats.** Ours reads κ, the codec and the server's state, and what it sends is bytes. If a law above did not hold, its row in the table would mean nothing. Break one: let
#   `client_update` send `flips` and report `sent`.
# - **A setting that favours one side.** The step size was chosen for neither method. Try `lr`, or κ = 0.05, where choosing should count most.

# %%
few = config.replace(kappa=0.05, rounds=4)
for method in ("deltamask", "lottery"):
    *_, last = simulate(few.replace(method=method), task=task)
    print(f"κ 0.05, {method:10} accuracy {last.accuracy:.3f}, {last.bpp_up:.4f} bpp up")

# %% [markdown]
# One is left: [10 · What the messages give away](10-what-the-messages-give-away.ipynb). The [dashboard](http://localhost:8501) has all of it with sliders; [CONTRIBUTING.md](../CONTRIBUTING.md) says how to add what is missing.
