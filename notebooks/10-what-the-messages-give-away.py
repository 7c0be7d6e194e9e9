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
# # 10 · What the messages give away
#
# **Goal.** Read a client's message as its server can, guess from it which classes the client holds, and see what a real promise of privacy says, and what it does not.
#
# *15 minutes to read, under a minute to run. [All notebooks](index.ipynb) · before this:
# [9 · Your own](09-your-own.ipynb) · [the same in the dashboard](http://localhost:8501/learn)*
#
# A message holds no image, no label and no weight, and passes through a hash: "hashing inherently boosts privacy", says the paper. The attacker here is the server itself. It keeps to the
# protocol and reads what it is sent. It knows θ_g and the public noise u, since it made both, the head, the backbone, and has some labelled images of its own.
#
# > **Predict first.** One client, one round, one message. How near does the server's guess come to the client's shares of ten classes: half of the way from knowing nothing, nearly all, or
# > not at all? And would it help the client to draw its mask from *private* randomness, as FedPM does?

# %%
from dataclasses import replace

import numpy as np
import pandas as pd

from deltamask import RunConfig, codecs, training
from deltamask.masking import masks, noise
from deltamask.methods import deltamask
from deltamask.methods.head_round import method_of
from deltamask.privacy import leaks, plan
from deltamask.simulation.loop import Observer, simulate
from deltamask.task.task import load_task
from deltamask.teaching import check, figures

figures.use_theme()

# %% [markdown]
# ## One round, watched
#
# Five clients that differ (α 0.1), one round. The observer keeps what the server has: its state before the round, and the messages.

# %%
config = RunConfig(
    train_samples=2000, test_samples=1000, rounds=1, dirichlet_alpha=0.1, batch_size=32, min_client_samples=32, lr=0.1,
    head_init="unit-means", head_temperature=1.0,
)  # fmt: skip
task = load_task(config)


class Server(Observer):
    def __init__(self):
        self.messages, self.states = {}, {}

    def payload(self, round, client, order, suffix, payload):
        self.messages[round, client] = payload

    def finished(self, record, checkpoint):
        self.states[record.round] = checkpoint.state


server = Server()
list(simulate(config, task=task, observer=server))
before = server.states[0]
message = server.messages[1, 0]
print(f"client 0 sends {len(message):,} bytes for {task.d:,} weights")

# %% [markdown]
# ## The filter is read by asking it
#
# A filter cannot list its members. It need not: there are d positions, and each can be asked. u is public as well: it follows from seed, round and client.

# %%
known = deltamask.context(config, before.theta, before.layers, 1, 0)
flips = codecs.get(config.codec).decode(message, known)
trained = training.train_scores(task, before.head, before.theta, config, round=1, client=0)
u = known.noise.words(0, task.d)
really = masks.flips(trained.theta, before.theta, u)
print(f"{task.d:,} questions, {len(flips):,} times yes")
print(
    f"flips that the filter hides: {len(np.setdiff1d(really, flips))}, "
    f"false ones among its answers: {len(np.setdiff1d(flips, really)):,}"
)

# %% [markdown]
# Nothing is hidden. One position in 256 is claimed falsely, at random, which is noise of a kind, but no sample is any safer for it: a false flip does not depend on what a client holds.
#
# ## From flips to an update
#
# Only positions are sent, no directions. But where u < θ_g the mask was 1, so the flip made it 0.
#
# **Exercise 1.** The update that flips say: −1 where a 1 became 0, +1 where a 0 became 1, 0 elsewhere, as an array of d values. theta, u: whole numbers in the same units.


# %% tags=["exercise"]
def read_update(theta, u, flips):
    return ...


check(read_update)

# %% [markdown]
# A flip happens where u lies between θ_g and θ_k. So in the mean over u the update is θ_k − θ_g, the very thing that training made. One value of it is nearly all noise. A million values are
# another matter.
#
# ## From an update to labels
#
# The server trains as the client did, from θ_g, on its own images of *one class at a time*. Ten classes give ten directions. Which mixture of them comes nearest to the update? That is
# a least-squares problem with weights that cannot be negative.

# %%
labels = task.test_y.numpy()
own = replace(
    task, train_x=task.test_x, train_y=task.test_y, holdings=None,
    shards=[np.flatnonzero(labels == label) for label in range(10)],
)  # fmt: skip
start = masks.to_float(before.theta)
directions = np.stack(
    [
        masks.to_float(
            training.train_scores(
                own, before.head, before.theta, config, round=1, client=label
            ).theta
        )
        - start
        for label in range(10)
    ]
)
guess = leaks.label_shares(leaks.update_of_flips(before.theta, u, flips), directions)
truth = task.label_counts / task.label_counts.sum(1, keepdims=True)
everybody = task.label_counts.sum(0) / task.label_counts.sum()
figures.bars(
    task.classes,
    {"true": truth[0], "guessed": guess},
    axis="share of client 0's images",
    text=".2f",
)

# %% [markdown]
# ## All five, and a private draw
#
# Total variation is half the sum of the differences: 0 for a right guess, 1 for one that has no class in common with the truth. Beside the guess stands what somebody would say who knows only
# the shares of all clients together. The last column draws the mask privately from the same θ_k, so that no u tells what was there before.


# %%
def guesses(client):
    known = deltamask.context(config, before.theta, before.layers, 1, client)
    flips = codecs.get(config.codec).decode(server.messages[1, client], known)
    u = known.noise.words(0, task.d)
    from_filter = leaks.update_of_flips(before.theta, u, flips)
    theta = training.train_scores(
        task, before.head, before.theta, config, round=1, client=client
    ).theta
    secret = noise.generator(7, "a secret", client=client)
    mask = masks.sample(theta, secret.integers(0, masks.ONE, task.d, np.uint16))
    from_mask = leaks.update_of_mask(before.theta, mask)
    return [leaks.label_shares(update, directions) for update in (from_filter, from_mask)]


rows = []
for client in range(config.clients):
    from_filter, from_mask = guesses(client)
    rows.append(
        {
            "client": client,
            "knowing nothing of it": leaks.total_variation(everybody, truth[client]),
            "from its filter": leaks.total_variation(from_filter, truth[client]),
            "from a private mask": leaks.total_variation(from_mask, truth[client]),
        }
    )
pd.DataFrame(rows).set_index("client").round(2)

# %% [markdown]
# **The answer to the prediction** stands in the table. Drawing a mask, publicly or privately, adds a coin to every position; a million coins average out. Neither hashing nor sampling hides what
# was learnt. [docs/privacy.md](../docs/privacy.md) has the same for ten clients, three seeds and other methods, with intervals and controls.
#
# ## What does hide a sample
#
# Noise that is added *while* the client trains, before anything is drawn: each sample's gradient is cut to length C, and Gaussian noise of size σ·C added to their sum. Then, for any two sets of samples
# that differ in one, whatever comes out is about as likely from either: (ε, δ)-differential privacy. What is done with the result afterwards cannot undo it, since whoever does it does not see the samples. So ε
# is spent by the steps, and by nothing else:

# %%
private = config.replace(dp="samples", dp_epsilon=4.0)
samples = task.samples.tolist()
same_noise = {"local_epochs": 2, "dp_noise": plan.noise_of(private, 0, samples[0])}
for said, changes in {
    "as it is": {},
    "a tenth of the flips": {"kappa": 0.1},
    "an exact code": {"codec": "gap"},
    "a filter of 32 bits": {"codec": "bfuse32"},
    "twice the steps, same noise": same_noise,
}.items():
    print(f"{said:28} ε {plan.epsilon(private.replace(**changes), samples, 1):.2f}")

# %% [markdown]
# κ and the codec spend nothing; twice the steps with the same noise do. (ε is the highest of all clients'.)
#
# ## What the promise says of a guess
#
# Somebody asks whether one image was in a client's training set, and is wrong about a share of the images that never were. Under (ε, δ) it is right about at most e^ε times that share of those that
# were, and δ more.
#
# **Exercise 2.** The largest share of members that can be found when the share `rate` of the others is taken for members.


# %% tags=["exercise"]
def most_found(epsilon, delta, rate):
    return ...


check(most_found)

# %% [markdown]
# ## And the labels?
#
# The promise is for one sample. That a client holds mostly shirts is no sample's secret: hundreds of them say it together. Does the noise hide it all the same?

# %%
method = method_of(private, 1)
memory = method.receive(task, private, 1, method.broadcast(private, before, 1), None)
upload = method.client_update(task, private, 1, 0, memory)
flips = codecs.get(private.codec).decode(upload.payload, known)
noisy = leaks.label_shares(leaks.update_of_flips(before.theta, u, flips), directions)
print(f"client 0, ε {private.dp_epsilon:g}: {len(flips):,} flips")
print(
    f"distance {leaks.total_variation(noisy, truth[0]):.2f}, "
    f"without noise {leaks.total_variation(guess, truth[0]):.2f}, "
    f"knowing nothing {leaks.total_variation(everybody, truth[0]):.2f}"
)

# %% [markdown]
# Whatever stands here, for one client and one round, is *not promised*. A promise for whole clients (`dp = clients`) takes noise on the sum of many, and a server that is trusted to add it: see the page
# [Privacy](http://localhost:8501/privacy) for how many clients that takes.
#
# ## What would show this to be wrong?
#
# - **A guess that is right for another reason.** Shuffle the labels of all clients' images and train again: the guess should fall to that of somebody who knows nothing. docs/privacy.md has that control.
# - **A luckier client.** Set `dirichlet_alpha=10.0`: shares are nearly equal then, and guessing them from noise is hardly better than saying "equal".
# - **An ε that depends on the codec.** If one line above differed from the first though its steps are the same, the account would be wrong.
#
# That was the last one. The [dashboard](http://localhost:8501) has all of it with sliders; [CONTRIBUTING.md](../CONTRIBUTING.md) says how to add what is missing.
