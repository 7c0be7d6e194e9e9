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
# # 3 · What changed?
#
# **Goal.** See DeltaMask's central idea at work: server and client draw their masks from the *same* random numbers, so the masks differ only where
# something was learnt. Then see what goes wrong when *all clients* share these numbers.
#
# *20 minutes to read, about half a minute to run. [All notebooks](index.ipynb) · before this:
# [2 · Masks instead of weights](02-masks-instead-of-weights.ipynb) · [the same in the dashboard](http://localhost:8501/learn)*
#
# After [notebook 2](02-masks-instead-of-weights.ipynb) a client has probabilities θ_k, and could send a mask drawn from them: d bits,
# a little less after compression. That is [FedPM](https://arxiv.org/abs/2209.15328), at about half a bit per parameter. DeltaMask asks what
# the server does not know yet.
#
# > **Predict first.** The server holds θ_g for a million weights. A client trains for one epoch, and nearly every θ moves a
# > little. Both sides then draw a mask. In how many of the million bits do the two masks differ: 500,000, 100,000, or 15,000?

# %%
import numpy as np
import torch

from deltamask import RunConfig, load_run, training
from deltamask.masking import aggregation, masks
from deltamask.masking.noise import PublicNoise
from deltamask.plots import run_charts
from deltamask.task.task import load_task
from deltamask.teaching import check, figures

figures.use_theme()

# %% [markdown]
# ## Public randomness
#
# A mask is drawn by comparing a uniform number u with θ, position by position: m = [u < θ]. The numbers need not be secret. If server and client
# derive them from a seed, the round and the client's number, they need not be sent.

# %%
server = PublicNoise(seed=0, round=1, client=3)
client = PublicNoise(seed=0, round=1, client=3)
print("server:", server.words(0, 6))
print("client:", client.words(0, 6))
print("only positions 1,000,000 to 1,000,005:", server.words(1_000_000, 1_000_006))

# %% [markdown]
# The generator is *counter-based*: position one million can be drawn without the million before it. u is a 16-bit integer, and θ
# is kept in the same units, so that u < θ is a comparison of integers and comes out the same on every machine.
#
# ## One client, one epoch
#
# Five clients share the 6,000 training images. `simulate` plays round 0, in which the classifier head is learnt; then we stop it and do the next steps by
# hand. The server begins with θ_g = 0.95 everywhere.

# %%
from deltamask import simulate
from deltamask.simulation.loop import Observer

config = RunConfig()
task = load_task(config)


class Server(Observer):
    """Keeps the server's state after each round."""

    def finished(self, record, checkpoint):
        self.state = checkpoint.state


server = Server()
next(simulate(config, task=task, observer=server))
theta_g, head = server.state.theta, server.state.head

theta_k = training.train_scores(task, head, theta_g, config, round=1, client=0).theta
change = np.abs(masks.to_float(theta_k) - masks.to_float(theta_g))
print(
    f"θ moved at {np.mean(change > 0):.0%} of {task.d:,} positions, by {change.mean():.3f} on average"
)

# %% [markdown]
# Now both masks, from one u:

# %%
u = PublicNoise(config.seed, round=1, client=0).words(0, task.d)
flips = masks.flips(theta_k, theta_g, u)
print(f"{len(flips):,} bits differ: {len(flips) / task.d:.2%} of all positions")
figures.masks_from_one_u(theta_k, theta_g, u, low=0.8)

# %% [markdown]
# Each point is one weight. Its height is u, the dashed line is θ_g, the diagonal is θ_k. The bit before training is 1 below the dashed line;
# the bit after is 1 below the diagonal. The bits differ only in the two wedges between them: **a flip happens exactly when u lies between θ_g and
# θ_k**. Its probability is |θ_k − θ_g|, so the number of flips can be predicted without drawing anything:

# %%
print(f"Σ|θ_k − θ_g| = {change.sum():,.0f}, and there were {len(flips):,} flips")

# %% [markdown]
# What if the client had drawn its mask from fresh randomness, as FedPM's does? Then masks differ even where nothing was learnt:

# %%
fresh = PublicNoise(seed=99, round=1, client=0).words(0, task.d)
resampled = np.flatnonzero(masks.sample(theta_k, fresh) != masks.sample(theta_g, u))
unlearnt = np.flatnonzero(masks.sample(theta_g, fresh) != masks.sample(theta_g, u))
print(f"one u: {len(flips):,} bits differ; two: {len(resampled):,}")
print(f"two, and no training at all: {len(unlearnt):,}")

# %% [markdown]
# **The answer to the prediction**: one or two in a hundred. Each mask is still a random draw from its θ; the randomness is
# *common* to both sides, and cancels.
#
# ## κ: the flips that matter most
#
# Not all flips are worth their bits. A weight whose θ went from 0.95 to 0.94 flips only if its u happens to lie between; one that went to
# 0.2 has changed. DeltaMask ranks flips by the Kullback–Leibler divergence between the two coins, KL(θ_k ‖ θ_g), and keeps
# the top share **κ**. Does the ranking help? Give the server's mask only some of the flips, chosen in three ways, and test it.

# %%
mask_g = masks.sample(theta_g, u)
rng = np.random.default_rng(0)
gain = masks.bernoulli_kl(theta_k[flips], theta_g[flips])
weakest_first = flips[np.argsort(gain)]


def tested(positions: np.ndarray) -> float:
    """Loss of the server's mask with some of the client's flips."""
    mask = torch.from_numpy(masks.apply_flips(mask_g, positions))
    return training.evaluate(task, task.tail.weights * mask, head).loss


kappas = np.array([0.0, 0.1, 0.2, 0.4, 0.7, 1.0])
counts = [round(kappa * len(flips)) for kappa in kappas]
losses = {
    "largest KL first": [tested(weakest_first[::-1][:count]) for count in counts],
    "at random, mean of 3": [
        np.mean([tested(rng.permutation(flips)[:count]) for _ in range(3)])
        for count in counts
    ],
    "smallest KL first": [tested(weakest_first[:count]) for count in counts],
}
figures.lines(kappas, losses, axes=("share of the flips applied", "test loss of the mask"))

# %% [markdown]
# All three curves start from the server's mask and end at the client's. The order by KL gets more out of the first flips than its reverse. But does
# it beat *chance*? After one epoch from a flat start it hardly does: every weight has moved by about as much, and there is little to rank. Believe
# a ranking only when it beats the random one, on your task and in your round. (That κ saves bits is certain.)
#
# Note also the right end: all flips of one client together make the mask *worse*. One client alone goes too far in its own direction; averaging over
# clients corrects that.
#
# ## One u for all?
#
# The paper speaks of a *publicly shared* seed. Read literally, all clients draw their masks from the same u. Each mask is still a correct
# draw from its θ. Let all five clients train, and look at what the server computes from their masks, the mean of m_k, in both readings.

# %%
thetas = [
    training.train_scores(task, head, theta_g, config, round=1, client=client).theta
    for client in range(5)
]
truth = np.mean([masks.to_float(theta) for theta in thetas], axis=0)


def server_estimate(shared: bool) -> np.ndarray:
    ones = np.zeros(task.d, np.int32)
    for client, theta in enumerate(thetas):
        ones += masks.sample(
            theta, PublicNoise(0, 1, None if shared else client).words(0, task.d)
        )
    return masks.to_float(aggregation.beta(ones, seen=5))


estimates = {
    "one u for each client": server_estimate(shared=False),
    "one u for all": server_estimate(shared=True),
}
agreeing = {
    name: [np.mean(np.rint(theta * 5) == ones) for ones in range(6)]
    for name, theta in estimates.items()
}
figures.bars(
    [f"{ones} of 5 masks are 1" for ones in range(6)],
    agreeing,
    axis="share of all positions (logarithmic)",
    text=".2%",
    log=True,
)

# %%
for name, theta in estimates.items():
    print(
        f"{name:22} mean error against the clients' mean θ_k: {np.abs(theta - truth).mean():.4f}"
    )

# %% [markdown]
# Independent draws at θ = 0.95 are all ones in 0.95⁵ = 77 % of the positions, so five masks say little about any single θ; but where they say "four of
# five" they do, and the next round draws other u. With one u for all, five clients compare *the same* u with five similar θ, and agree almost
# everywhere. Five masks then carry hardly more information than one: what the server gets is one mask, not an average.
#
# After such a round θ_g is near-binary, clipped to 0.0025 and 0.9975. What does that do to the next round? The training gradient carries
# the factor θ(1 − θ), which is now 0.0025; and u rarely falls between two θ that are both at the clip. Learning nearly stops. Four rounds of each, with nothing else changed
# (and an exact codec, so that no false flip interferes):

# %%
both = {}
for name, noise in (("one u for each client", "per_client"), ("one u for all", "shared")):
    short = config.replace(noise=noise, codec="gap", rounds=4)
    both[name] = list(simulate(short, task=task))[1:]


def undecided(record) -> float:
    """Share of θ_g between 0.05 and 0.95: the histogram without its outer bins."""
    return sum(record.theta_histogram[1:-1]) / sum(record.theta_histogram)


figures.lines(
    range(1, 5),
    {name: [undecided(record) for record in records] for name, records in both.items()},
    axes=("round", "share of θ_g between 0.05 and 0.95"),
)

# %%
for name, records in both.items():
    print(
        f"{name:22} flips a client, round by round:", *(f"{r.flips:7,.0f}" for r in records)
    )

# %% [markdown]
# And the recorded runs, forty rounds of each. (The one in the paper's form also lets κ fall, as the paper does, and has fewer flips to send for that reason too.)

# %%
paper, ours = load_run("fashion-paper"), load_run("fashion")
run_charts.accuracy_curves([paper, ours], against="rounds")

# %% [markdown]
# The repair costs nothing: the server knows every client's number, hence every client's u. `noise="per_client"` is this project's default,
# `noise="shared"` the paper's reading, and the dashboard lets you run both. (The paper may have meant something else; its code is not public.)
#
# ## Exercises
#
# **1.** The positions where two masks drawn from one u differ. All three arguments are arrays of 16-bit integers.


# %% tags=["exercise"]
def find_flips(theta_client, theta_global, u):
    return ...


check(find_flips)

# %% [markdown]
# **2.** The probability of a flip at each position, for θ as floats in [0, 1].


# %% tags=["exercise"]
def flip_probability(theta_client, theta_global):
    return ...


check(flip_probability)

# %% [markdown]
# **3.** Keep the top ⌈κ·n⌉ of the flips by their divergence, sorted by position.


# %% tags=["exercise"]
def keep_strongest(flips, divergence, kappa):
    return ...


check(keep_strongest)

# %% [markdown]
# ## What would show this to be wrong?
#
# - **That per-client masks have the right distribution**: if common randomness distorted them, the mean of [u < θ] over many rounds' u would not be θ. Take one weight and ten
#   thousand u:

# %%
level = int(0.3 * masks.ONE)
draws = np.array([PublicNoise(0, round, 0).words(0, 16) < level for round in range(1000)])
print(
    f"θ = 0.3, {draws.size:,} draws: mean {draws.mean():.4f}, expected within ± {2 * np.sqrt(0.3 * 0.7 / draws.size):.4f}"
)

# %% [markdown]
# - **That shared u is to blame for the collapse**: then sharing u must be enough to cause it, with everything else as it was. The four rounds above changed nothing else.
# - **That the collapse hurts**: a mask whose θ are all near 0 or 1 might be as good. On this task the accuracy curves say that it is not. Find a task, a learning rate
#   or a number of rounds where it is; `deltamask run --noise shared` runs it.
#
# **Next:** [4 · Filters from scratch](04-filters-from-scratch.ipynb), in which flips become bytes
