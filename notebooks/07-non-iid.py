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
# # 7 · Non-IID
#
# **Goal.** Give clients different data, see which of them lose accuracy, and find out why: a bad head, and drift. Mend each. Then reproduce a run exactly, from nothing but its config.
#
# *20 minutes to read, about two minutes to run. [All notebooks](index.ipynb) · before this:
# [6 · The server's view](06-the-servers-view.ipynb) · [the same in the dashboard](http://localhost:8501/learn)*
#
# So far the clients' data were alike. Real clients are not: one hospital sees mostly children, one phone takes mostly pictures of shoes. Statisticians call the comfortable case
# *independent and identically distributed*, **IID**; ours is the other one.
#
# > **Predict first.** Five clients; in one run each holds all ten kinds of clothing in similar numbers, in another each holds mostly two or three kinds. The total data are the same. After
# > six rounds, how far apart are the two in mean accuracy: 1 point, 5, or 20? And the worst-off clients?

# %%
import tempfile
from pathlib import Path

import pandas as pd

from deltamask import RunConfig, load_run, simulate
from deltamask.plots import client_charts
from deltamask.runs.folder import RunFolder
from deltamask.runs.runner import execute
from deltamask.teaching import check, figures

figures.use_theme()

# %% [markdown]
# ## Dealing out the labels
#
# The usual way to make clients differ on purpose: for each class, draw the clients' shares of it from a **Dirichlet distribution** with concentration α, and deal its images out
# in these shares. Large α: equal shares. Small α: one client takes most. Each image goes to exactly one client.

# %%
from deltamask import datasets
from deltamask.datasets.partitions import label_counts
from deltamask.datasets.partitions.dirichlet import dirichlet_split

data = datasets.load("fashion-mnist-mini")
labels = data.train_y[:1200]
splits = {
    alpha: dirichlet_split(labels, clients=5, alpha=alpha, min_samples=8, seed=0)
    for alpha in (10, 1, 0.1)
}
client_charts.label_split(label_counts(labels, splits[10], 10), data.classes)

# %%
client_charts.label_split(label_counts(labels, splits[0.1], 10), data.classes)

# %% [markdown]
# With α = 0.1 clients differ in what they hold *and* in how much. Whoever would get fewer than eight images is topped up from the largest client.
#
# ## Two runs
#
# We make real runs, in a folder, as the command `deltamask run` and the dashboard do: `execute` writes records, checkpoints and payloads.

# %%
folder = Path(tempfile.mkdtemp(prefix="deltamask-"))


def play(name: str, config: RunConfig):
    created = RunFolder.create(folder / name, config)
    execute(
        created, config, on_record=lambda record: None, show=lambda what, done, total: None
    )
    return load_run(created.path)


config = RunConfig(
    train_samples=1200,
    test_samples=600,
    rounds=6,
    codec="gap",
    aggregation="unbiased",
    keep_payloads="all",
)
alike = play("alike", config)
apart = play("apart", config.replace(dirichlet_alpha=0.1))
pd.DataFrame({"alike, α = 10": alike.summary(), "apart, α = 0.1": apart.summary()}).T.round(
    3
)

# %%
rounds = range(config.rounds + 1)
figures.lines(
    rounds,
    {"alike, α = 10": alike.rounds["accuracy"], "apart, α = 0.1": apart.rounds["accuracy"]},
    axes=("round", "accuracy on all test images"),
)

# %% [markdown]
# Look at where the curves *start*. Before a single mask bit has moved, most of the distance is there.
#
# ## First culprit: the head
#
# The classifier head is learnt in round 0. Each client trains it on its own two or three classes, and the server averages: what one has learnt about shirts, four others have unlearnt.
# But a head need not be trained. **Linear discriminant analysis** follows by a formula from sums: of each class's features, and of their products (the *Gram matrix*).
# Sums do not care who holds which sample, so the head is the same, bit for bit, for every split. Each client sends its sums once.

# %%
exact = play("exact", apart.config.replace(head_init="gram"))
head_only = play("head-only", exact.config.replace(method="head-only"))
pd.DataFrame(
    {
        name: {
            "accuracy of the head": run.records[0]["accuracy"],
            "kB a client sends for it": run.records[0]["uplink_bytes"]
            / config.clients
            / 1e3,
            "accuracy after six rounds": run.records[-1]["accuracy"],
        }
        for name, run in {
            "trained head, α = 10": alike,
            "trained head, α = 0.1": apart,
            "head from sums, α = 0.1": exact,
            "that head, and nothing more": head_only,
        }.items()
    }
).T.round(3)

# %% [markdown]
# The head from sums, with *nothing* learnt after it, is what every method has to beat. That is why it is an arm of its own here and in every table: *head only*. It has a price, the kilobytes in the
# second column; cheaper formulas (`ncm`, `cof`, `gram-rp`) send class means, or the products of fewer, projected features.
#
# ## Second culprit: drift
#
# Now read the third row from left to right. Six rounds of masks under the good head made it *worse*. Each client pulls towards its own classes: a client that holds only shoes is right more often the
# more its network says "shoe", whatever it is shown. The average of five such pulls is not nothing.
#
# **Balanced softmax** takes that temptation away. While it trains, a client adds the logarithm of its own label shares to the logits: that shoes are frequent *here* is then known already and
# need not be learnt. And a smaller step drifts less far. Neither costs a bit.

# %%
balanced = play("balanced", exact.config.replace(local_loss="balanced", lr=0.03))
figures.lines(
    rounds,
    {
        "trained head": apart.rounds["accuracy"],
        "head from sums": exact.rounds["accuracy"],
        "head from sums, balanced loss, small step": balanced.rounds["accuracy"],
        "head from sums, nothing more": head_only.rounds["accuracy"],
    },
    axes=("round", "accuracy on all test images"),
)

# %% [markdown]
# So most of the harm is gone. Is there a gain over the head alone? Six rounds on 1,200 images cannot say. Forty rounds, three seeds, every method and intervals:
# [docs/results.md](../docs/results.md#clients-that-differ-and-few-at-a-time).
#
# ## The worst client
#
# A mean hides single clients. How good is the server's model *for a client*? Test accuracy by class, weighted with that client's own label shares: exact, and no test image has to be taken from anyone. (Mind the axis: it does not start at 0.)

# %%
client_charts.client_accuracies(apart, config.rounds)

# %%
rows = []
for name, run in (("alike", alike), ("apart", apart), ("apart, mended", balanced)):
    last = run.clients[run.clients["round"] == config.rounds]
    rows.append(
        {
            "run": name,
            "mean over test images": run.records[-1]["accuracy"],
            "best client": last["accuracy"].max(),
            "worst client": last["accuracy"].min(),
        }
    )
pd.DataFrame(rows).round(3)

# %% [markdown]
# **The answer to the prediction** is in the table: read both columns, the mean and the worst. A client with a low accuracy need not hold few images; it holds classes that the
# average of the others has unlearnt, or never learnt. A report of the mean alone leaves that out.
#
# ## Some clients, each round
#
# With participation ρ < 1 only K = ⌈ρN⌉ clients are asked. When clients differ, it matters *which*: every round pulls towards the few that took part. Ten clients, three of them a round:

# %%
partial = play("partial", config.replace(dirichlet_alpha=0.1, clients=10, rho=0.3))
sent = partial.clients.pivot_table(index="client", columns="round", values="uplink_bytes")
sent.reindex(range(10)).notna().replace({True: "■", False: "·"}).iloc[:, 1:]

# %%
figures.lines(
    rounds,
    {
        "all 5 of 5 clients": apart.rounds["accuracy"],
        "3 of 10 clients": partial.rounds["accuracy"],
    },
    axes=("round", "accuracy on all test images"),
)

# %% [markdown]
# Fewer bytes cross the network each round, and a round learns less. Compare at equal *bytes*, not at equal rounds. (In round 0, too, only three clients took part.)
#
# ## The same run again
#
# A result should be repeatable. A run folder holds the config, and everything random in a run derives from (seed, purpose, round, client), never from a generator whose
# state depends on what happened before. So the config determines the run. Read it back from disk, run again, and compare what crossed the wire, byte for byte:

# %%
again = play("again", load_run(apart.path).config)
payloads = list(zip(apart.payloads(), again.payloads(), strict=True))
identical = [old.read() == new.read() for old, new in payloads]
print(f"{sum(identical)} of {len(identical)} payloads are identical, byte for byte")
assert all(identical)

# %% [markdown]
# Now one of the runs that the dashboard shows. It was recorded on another machine, perhaps; forty rounds on 6,000 images take more than a minute, so we play the first two only.

# %%
recorded = load_run("fashion-gap")
print(
    f"recorded with {recorded.provenance['deltamask']}, torch {recorded.task['torch']}, {recorded.task['threads']} threads"
)
for record, old in zip(simulate(recorded.config), recorded.records, strict=False):
    flips = (
        f"{record.flips:,.0f} flips, then {old['flips']:,.0f}"
        if record.flips
        else "the head"
    )
    print(
        f"round {record.round}: accuracy {record.accuracy:.4f}, then {old['accuracy']:.4f}; {flips}"
    )
    if record.round == 2:
        break

# %% [markdown]
# Equal to the last digit? Then your processor adds floating-point numbers in the order that the recording one did. If not, that is why: matrix products on another processor, or with another number of threads, round
# differently in the last bit, and after some hundred steps a score falls on the other side of a u. What must *not* differ is everything that is done in integers: the split, the public randomness, the codecs.
# That is why θ is an integer.
#
# ## Exercises
#
# **1.** K, the number of clients sampled each round. Mind what computers make of 0.07 · 100.


# %% tags=["exercise"]
def clients_per_round(rho, clients):
    return ...


check(clients_per_round)

# %% [markdown]
# **2.** The model's accuracy for a client, from test accuracy by class and the client's label counts.


# %% tags=["exercise"]
def accuracy_for_client(class_accuracy, label_counts):
    return ...


check(accuracy_for_client)

# %% [markdown]
# **3.** The worst-off client of a round, from a table like `run.clients` (columns `round`, `client`, `accuracy`).


# %% tags=["exercise"]
def worst_client(table, round):
    return ...


check(worst_client)

# %% [markdown]
# **4.** (No check.) Set `local_epochs=5` for the α = 0.1 run. Clients then go further in their own direction before they are averaged. Better or worse, for the mean and for the worst?
#
# ## What would show this to be wrong?
#
# - **Another split.** Everything above rests on one draw of the Dirichlet distribution. With α = 0.1 splits differ wildly; the seed decides which client gets little:

# %%
largest = [
    max(len(shard) for shard in dirichlet_split(labels, 5, 0.1, 8, seed=seed))
    for seed in range(8)
]
print("largest client's images, of 1,200, for eight seeds:", largest)

# %% [markdown]
# - **A run that does not repeat** on the same machine: one byte of difference in the cell above, and every comparison "with the same seed" in this project would be in doubt. (The cell would stop with an error.)

# %%
import shutil

shutil.rmtree(folder)

# %% [markdown]
# **Next:** [8 · A fair comparison](08-a-fair-comparison.ipynb)
