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
# # 1 · Why bits matter
#
# **Goal.** Count, by hand and then with the package, what federated learning sends; learn the one unit that everything here is
# measured in. You need PyTorch's idea of a weight, and nothing of federated learning.
#
# *15 minutes to read, under a minute to run. [All notebooks](index.ipynb) ·
# [the same in the dashboard](http://localhost:8501/learn)*
#
# Some hospitals, or some thousand phones, hold pictures that must not leave them, and want to train one model
# together. **Federated averaging** does it in rounds. A server sends the model to the clients; each client trains it a little on
# its own data and sends it back; the server averages what it gets, and begins again. The pictures stay where they are. The
# model travels, in both directions, every round.
#
# > **Predict first.** We will fine-tune the last part of a small image network: about a million weights. Five clients, forty
# > rounds, 32-bit numbers. How much data crosses the network in all: 16 MB, 160 MB or 1.6 GB?

# %%
from deltamask import RunConfig, load_run, simulate
from deltamask.plots import run_charts
from deltamask.teaching import check, figures

figures.use_theme()

# %% [markdown]
# One round, and the next one begins with the model that came out of it:

# %%
figures.server_and_clients()

# %% [markdown]
# ## What there is to send
#
# A pretrained network is cut in two. The **trunk** stays frozen, so its output for an image is computed once and kept. The **tail**
# is what we fine-tune. `load_task` reads the data (Fashion-MNIST, from this repository), runs the trunk and deals the images out
# to clients.

# %%
import pandas as pd

from deltamask.task.task import load_task

config = RunConfig(train_samples=2000, test_samples=1000, clients=5, rounds=3)
task = load_task(config)
pd.DataFrame(
    [
        {"layer": layer.name, "shape": layer.shape, "weights": layer.stop - layer.start}
        for layer in task.tail.layers
    ]
)

# %%
print(
    f"d = {task.d:,} weights in the tail, and a classifier head of {task.head_size:,} numbers on top"
)
print("images held by each client:", [len(shard) for shard in task.shards])

# %% [markdown]
# d is the number that everything below is divided by. One copy of these weights as float32 is 4·d bytes, so for FedAvg:

# %%
one_copy = 4 * task.d
up = one_copy * 5 * 40
print(f"one copy {one_copy / 1e6:.2f} MB")
print(f"forty rounds, five clients: {up / 1e6:,.0f} MB up and as much down")

# %% [markdown]
# 1.6 GB, for a million weights. A phone with 10 Mbit/s upwards would spend

# %%
seconds = one_copy * 8 / 10e6
print(f"{seconds:.1f} s a round sending, {40 * seconds / 60:.1f} minutes in all")

# %% [markdown]
# That is bearable. Now take the network that the [DeltaMask paper](https://arxiv.org/abs/2311.17299) fine-tunes: the last five
# blocks of a ViT-B/32 are 35 million weights, and the phone is busy for half a minute *each round*. Bytes, not arithmetic, decide what can be
# trained this way.
#
# ## The unit: bits per parameter
#
# Megabytes depend on the network. So one divides by d:
#
# $$\text{bpp} = \frac{8 \cdot \text{bytes that one client really sent}}{d}$$
#
# FedAvg in float32 is 32 bpp by construction. Half precision is 16. A method that sends one bit for each weight is at 1 bpp, and
# DeltaMask's point is to be far *below* one bit: it does not send something about every weight.
#
# "Really sent" is meant literally. In this project no figure is estimated: the message is encoded to bytes, the bytes
# are counted, and the server learns from nothing but these bytes. Here is the tail as one such message.

# %%
from deltamask.codecs.wire import dense
from deltamask.simulation.ledger import bits_per_parameter

message = dense.encode_dense32(task.tail.weights.numpy(), round=1, client=0)
print(
    f"{len(message):,} bytes = {bits_per_parameter(len(message), task.d):.2f} bpp, for {one_copy:,} bytes of float32"
)

# %% [markdown]
# A little *less* than 32: messages travel as PNG pictures (that is the paper's container; [notebook 5](05-a-picture-of-an-update.ipynb) takes one apart), whose
# lossless compression finds some redundancy in the exponents of pretrained weights. An estimate would have missed that.
#
# ## A real round
#
# The cheapest thing to federate is the classifier head alone. This is called **linear probing**, and it is FedAvg on 12,810
# numbers. `simulate` plays rounds and yields a record of each.

# %%
probe = config.replace(method="linear-probe", rounds=2)
for record in simulate(probe, task=task):
    print(
        f"round {record.round}: accuracy {record.accuracy:.3f}, {record.uplink_bytes:,} bytes up from 5 clients, "
        f"{record.bpp_up:.3f} bpp up, {record.bpp_down:.3f} bpp down"
    )

# %% [markdown]
# Check one figure by hand: 12,810 numbers × 4 bytes = 51,240 bytes a client, of which the picture's compression saves some. Times five
# clients gives the bytes above; × 8 / d / 5 gives the bpp.
#
# Round 0's downlink is smaller: the head begins as zeros, and zeros compress well.
#
# ## Accuracy against bits
#
# Accuracy alone does not say which method is better, nor do bits alone. The chart to look at has both. These runs were recorded with
# the package's own command and ship with it: same network, same split, same seed, forty rounds; they differ in what is sent. **Fine-tuning** is FedAvg on the tail, as above; **EDEN** compresses its updates to one bit a weight; **FedPM** sends a mask, one random bit a weight;
# **DeltaMask** only what changed in it, here in two settings. What that means is the subject of the next notebooks (and so are the words in brackets in the legend).

# %%
names = {
    "fashion-finetune": "fine-tuning",
    "fashion-eden": "EDEN, 1 bit",
    "fashion-probe": "linear probe",
    "fashion-fedpm": "FedPM",
    "fashion": "DeltaMask",
    "fashion-recipe": "DeltaMask, tuned",
}
runs = {label: load_run(name) for name, label in names.items()}
run_charts.accuracy_curves(list(runs.values()), against="bits")

# %% [markdown]
# Read it from left to right. The axis is logarithmic: each step to the left is a factor, not a difference. Every curve starts
# with the same round 0, in which the head is learnt, and its bytes are part of the bill. A curve that is higher *and* further
# left is better; where two curves cross, it depends on your budget.
#
# ## Both directions
#
# Papers usually report the uplink, because phones send slowly. But a model must also reach the clients.

# %%
figures.both_directions(runs)

# %% [markdown]
# For methods that send little up, the downlink is the larger part; for EDEN, whose clients need all weights in every round, by a factor of thirty. Most papers report only the
# uplink. The downlink can be made smaller. Sent as 32-bit numbers the model costs 32 bpp in every round; but the clients still have the last round's model, and
# need only what changed. Both ways, for DeltaMask:

# %%
for downlink in ("fp32", "counts"):
    *_, last = simulate(config.replace(rounds=2, codec="gap", downlink=downlink), task=task)
    print(f"{downlink:6} round 2: {last.bpp_up:.3f} bpp up, {last.bpp_down:.3f} bpp down")

# %% [markdown]
# Every record in this project therefore holds two figures, `bpp_up` and `bpp_down`, and neither is ever reported as if it were the whole.
#
# **The answer to the prediction**: 1.6 GB for FedAvg on a tail of a million weights, half of it downwards.
#
# ## Exercises
#
# Replace the three dots and run the cell. `check` says whether it is right, and if not, hints. Solutions are in `solutions/`.
#
# **1.** Bytes that cross the network, both directions together, when FedAvg trains `parameters` float32 numbers.


# %% tags=["exercise"]
def fedavg_bytes(parameters, clients, rounds):
    return ...


check(fedavg_bytes)

# %% [markdown]
# **2.** Bits per parameter of one round, given the sizes of all payloads in bytes (one for each client) and d.


# %% tags=["exercise"]
def bpp(payload_bytes, d):
    return ...


check(bpp)

# %% [markdown]
# **3.** A client may send `budget` bytes in all. It first sends its head once, then one payload a round. How many rounds can it
# take part in?


# %% tags=["exercise"]
def rounds_within(budget, head_bytes, payload_bytes):
    return ...


check(rounds_within)

# %% [markdown]
# ## What would show this to be wrong?
#
# That bytes are counted and not estimated can be tested from outside: the payloads that a run keeps on disk must be as large as its records
# say.

# %%
run = load_run("fashion")
for payload in run.payloads(12):
    recorded = run.records[12]["clients"][payload.client]["uplink_bytes"]
    on_disk = payload.size
    print(
        f"round 12, client {payload.client}: {on_disk:,} bytes on disk, {recorded:,} in the record"
    )
    assert on_disk == recorded

# %% [markdown]
# If one of these differed, or if a method's server could learn without reading the payload, the whole chart above would be worth
# nothing. Two more ways to attack it: is one seed enough to rank two curves that lie a point apart
# ([notebook 8](08-a-fair-comparison.ipynb) says no), and does anybody charge the bytes that the *head* costs (we do; look for round 0
# in the papers you read).
#
# **Next:** [2 · Masks instead of weights](02-masks-instead-of-weights.ipynb)
