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
# # 6 · The server's view
#
# **Goal.** See what the server can learn from five masks that are random draws, some of their bits wrong: two estimators, their
# variance by simulation, and what false flips and absent clients do to them.
#
# *20 minutes to read, about half a minute to run. [All notebooks](index.ipynb) · before this:
# [5 · A picture of an update](05-a-picture-of-an-update.ipynb) · [the same in the dashboard](http://localhost:8501/learn)*
#
# > **Predict first.** Five clients hold θ = 0.93, 0.94, 0.95, 0.96, 0.97 for some weight; the server would like to know the mean, 0.95. It gets one bit from
# > each. How far off will its estimate typically be: 0.01, 0.03 or 0.1? And what if it only listens to what *changed*?

# %%
import numpy as np
import pandas as pd
from scipy import stats

from deltamask import RunConfig, codecs, load_run, simulate, training
from deltamask.codecs import CodecContext
from deltamask.masking import aggregation, masks
from deltamask.masking.noise import PublicNoise
from deltamask.plots import run_charts
from deltamask.simulation.loop import Observer, sampled_clients
from deltamask.task.task import load_task
from deltamask.teaching import check, figures

figures.use_theme()

# %% [markdown]
# ## What the server wants
#
# In federated averaging the server averages the clients' weights. Here it would like the mean of the clients' probabilities, mean θ_k; but it receives decoded masks
# m̂_k, which are draws from them. It has to *estimate*.
#
# We use real clients: two rounds are played, and in the third we stop and look at all five clients before they send.


# %%
class Server(Observer):
    """Keeps the server's state after each round."""

    def finished(self, record, checkpoint):
        self.state = checkpoint.state


config = RunConfig(
    train_samples=2000, test_samples=1000, rounds=2, codec="gap", aggregation="unbiased"
)
task = load_task(config)
server = Server()
for record in simulate(config, task=task, observer=server):
    print(f"round {record.round}: accuracy {record.accuracy:.3f}")

theta_g, head = server.state.theta, server.state.head
thetas = [
    training.train_scores(task, head, theta_g, config, round=3, client=client).theta
    for client in range(5)
]
truth = np.mean([masks.to_float(theta) for theta in thetas], axis=0)

# %% [markdown]
# ## Two estimators
#
# **Beta**, the paper's. Count the ones at each position. With a flat prior (λ₀ = 1) the posterior for the coin is Beta(1 + ones, 1 + zeros); take its
# mode:
#
# $$\hat\theta = \frac{\alpha - 1}{\alpha + \beta - 2} = \frac{1}{K}\sum_k \hat m_k .$$
#
# **Unbiased**, ours. The server knows one thing more: the mask m_g,k that it drew itself from its own θ_g with the client's u. It uses only what the client's mask *changes* in that:
#
# $$\hat\theta = \theta_g + \frac{1}{K}\sum_k (\hat m_k - m_{g,k}) .$$
#
# Both are right on average. (Check the second: E[m̂_k] = θ_k and E[m_g,k] = θ_g, so the expectation is mean θ_k.) They differ in noise. The first sees K coins,
# and a coin's variance is θ(1 − θ) whether or not anything was learnt. In the second, everything that did not change cancels, and the variance is that of a flip,
# at most |θ_k − θ_g|:
#
# $$\text{Var}_\text{beta} = \frac{1}{K^2}\sum_k \theta_k(1 - \theta_k), \qquad
# \text{Var}_\text{unbiased} = \frac{1}{K^2}\sum_k |\theta_k - \theta_g|\,(1 - |\theta_k - \theta_g|).$$
#
# To check the formulas by simulation: the same five θ_k, three hundred different u, and the spread of what the server computes, on 20,000 of the positions.

# %%
n, repeats = 20_000, 300
g = theta_g[:n]
clients = [theta[:n] for theta in thetas]
answers: dict[str, list[np.ndarray]] = {"beta": [], "unbiased": []}
for repeat in range(repeats):
    ones, change = np.zeros(n, np.int32), np.zeros(n, np.int32)
    for client, theta in enumerate(clients):
        u = PublicNoise(repeat, 3, client).words(0, n)
        before, after = masks.sample(g, u), masks.sample(theta, u)
        ones += after
        change += after.astype(np.int32) - before
    answers["beta"].append(masks.to_float(aggregation.beta(ones, seen=5)))
    answers["unbiased"].append(
        masks.to_float(aggregation.unbiased(g, change, 5, server_lr=1.0))
    )

p = np.array([masks.to_float(theta) for theta in clients])
moved = np.abs(p - masks.to_float(g))
formula = {"beta": (p * (1 - p)).sum(0) / 25, "unbiased": (moved * (1 - moved)).sum(0) / 25}
rows = []
for name, draws in answers.items():
    draws = np.array(draws)
    rows.append(
        {
            "estimator": name,
            "standard deviation, simulated": np.sqrt(draws.var(0).mean()),
            "by the formula": np.sqrt(formula[name].mean()),
            "bias, simulated": (draws.mean(0) - truth[:n]).mean(),
        }
    )
pd.DataFrame(rows).round(4)

# %%
spread = {name: np.array(draws).std(0) for name, draws in answers.items()}
figures.histograms(
    spread,
    axes=("standard deviation of the server's estimate at a position", "positions"),
    span=(0, 0.2),
    bins=80,
)

# %% [markdown]
# **The answer to the prediction**: about 0.1 with Beta, less than half of that when listening to changes only. To reach the same accuracy with Beta one would need five
# to seven times as many clients: the variance is what counts, and it goes with 1/K.
#
# (The clip explains what does not fit the formulas: estimates cannot leave [0.0025, 0.9975]. For θ near these limits that cuts one side of the noise, which makes the
# spread a little smaller than computed and the mean a little too low. The estimator is unbiased only away from them.)
#
# Less noise is not free in bits, though: a server that follows every small change keeps θ_g away from these limits, where flips are frequent. Look at the recorded runs in
# both respects:

# %%
run_charts.accuracy_curves(
    [load_run("fashion"), load_run("fashion-unbiased")], against="bits"
)

# %% [markdown]
# ## False flips
#
# The filter's false flips ([notebook 4](04-filters-from-scratch.ipynb)) reach the server as if a client had made them: about d/256 ≈ 3,900 from each client in each round, however many true ones
# there are.

# %%
run_charts.flips_by_round(load_run("fashion"))

# %% [markdown]
# What do they do to the estimate? A false flip inverts a bit. With rate f at every position the expected decoded bit is θ(1 − f) + (1 − θ)f = θ + f(1 − 2θ): each
# probability is pulled a little towards ½. Here is the real codec doing it: 150 messages of clients that learnt *nothing*, θ_k = θ_g = 0.95, but for one true flip.

# %%
flat = np.full(200_000, int(0.95 * masks.ONE), np.uint16)
bfuse8 = codecs.get("bfuse8")
total = np.zeros(len(flat))
for message in range(150):
    context = CodecContext(message, 0, flat, PublicNoise(0, message, 0))
    flips = bfuse8.decode(bfuse8.encode(np.array([7]), context), context)
    mask = masks.sample(flat, context.noise.words(0, len(flat)))
    total += masks.apply_flips(mask, flips)
drawn, rate = total.mean() / 150, 1 / 256
print(
    f"mean decoded bit {drawn:.4f}; θ = 0.95 and f = 1/256 predict {0.95 + rate * (1 - 1.9):.4f}"
)

# %% [markdown]
# 0.0035 seems little. But it comes every round, always in the same direction, and a client's own learning moves θ by only about 0.01 a round. Near 0 and 1
# it has two effects: a weight at θ = 0.9975 can change again, and it must be flipped back by real learning, which costs bits. In the
# recorded runs accuracy does not suffer (`fashion-gap`, which is exact and otherwise the same, ends at about the same accuracy); the bits do.
#
# ## Some clients only
#
# With ten thousand phones, a round does not use all of them. Each round samples K = ⌈ρN⌉ clients. Ten clients, ρ = 0.2, twelve rounds:

# %%
partial = RunConfig(clients=10, rho=0.2, rounds=12)
took_part = np.zeros((10, 12))
for round in range(1, 13):
    took_part[sampled_clients(partial, round), round - 1] = 1
for client in range(10):
    print(
        f"client {client}: " + " ".join("■" if part else "·" for part in took_part[client])
    )

# %% [markdown]
# Two masks a round say even less. So the paper's server *remembers*: it adds the counts of several rounds to one posterior, and starts afresh (**resets the prior**) every ⌈1/ρ⌉ rounds,
# when about every client has taken part once. One position, true θ = 0.8, two masks a round:

# %%
rng = np.random.default_rng(2)
grid = np.linspace(0, 1, 200)
ones = seen = 0
densities = {}
for round in range(1, 8):
    if aggregation.reset_priors(round, partial.rho):
        ones = seen = 0
    ones, seen = ones + int((rng.random(2) < 0.8).sum()), seen + 2
    name = f"round {round}: {ones} of {seen}"
    if round in (1, 3, 5, 6):
        densities[name] = stats.beta(1 + ones, 1 + seen - ones).pdf(grid)
    print(name, "(prior reset)" if aggregation.reset_priors(round, partial.rho) else "")
figures.lines(grid, densities, axes=("θ", "posterior density"))

# %% [markdown]
# The posterior narrows for five rounds and is thrown away in the sixth. Why throw away? Because θ *moves*: clients learn between rounds, and old masks are draws from old θ. Simulate a θ that drifts, and
# three servers: one that never resets, one that resets every five rounds, one that resets each round.

# %%
steps, positions = 60, 2000
drift = 0.5 + 0.4 * np.sin(np.arange(1, steps + 1) / 12)
errors = {}
for name, rho in (
    ("never resets", 1e-3),
    ("resets every 5 rounds", 0.2),
    ("resets every round", 1.0),
):
    ones, seen = np.zeros(positions, np.int32), 0
    error = []
    for round, theta in enumerate(drift, 1):
        if aggregation.reset_priors(round, rho):
            ones, seen = np.zeros(positions, np.int32), 0
        ones, seen = ones + rng.binomial(2, theta, positions).astype(np.int32), seen + 2
        error.append(np.abs(masks.to_float(aggregation.beta(ones, seen)) - theta).mean())
    errors[name] = error
figures.lines(range(1, steps + 1), errors, axes=("round", "mean error of θ_g"))

# %% [markdown]
# Without memory the estimate is noisy; with endless memory it lags behind. The paper's resets are a compromise. The unbiased estimator needs none: θ_g itself holds what was learnt.
#
# ## Exercises
#
# **1.** The mode of the Beta posterior with α₀ = β₀ = 1, after `ones` ones among `seen` bits.


# %% tags=["exercise"]
def posterior_mode(ones, seen):
    return ...


check(posterior_mode)

# %% [markdown]
# **2.** The unbiased estimate (without the clip). `before`, `after`: (K, d) Boolean masks.


# %% tags=["exercise"]
def unbiased_step(theta, before, after):
    return ...


check(unbiased_step)

# %% [markdown]
# **3.** What a decoded mask bit is on average, when a share `rate` of all bits is inverted.


# %% tags=["exercise"]
def mean_decoded_mask(theta, rate):
    return ...


check(mean_decoded_mask)

# %% [markdown]
# ## What would show this to be wrong?
#
# - **Dependent clients.** The variance formulas assume that clients' u are independent. With `noise="shared"` they are not ([notebook 3](03-what-changed.ipynb)), and Beta's variance should then be that of
#   *one* coin, five times larger. If it were not, we would have misunderstood why θ collapses:

# %%
means = np.array(
    [
        np.mean(
            [
                masks.sample(theta, PublicNoise(repeat, 3, None).words(0, n))
                for theta in clients
            ],
            axis=0,
        )
        for repeat in range(100)
    ]
)
one_coin = (p.mean(0) * (1 - p.mean(0))).mean()
print(
    f"shared u: variance {means.var(0, ddof=1).mean():.4f}; one coin {one_coin:.4f}; five coins {one_coin / 5:.4f}"
)

# %% [markdown]
# - **That variance matters at all.** A noisy θ_g might be harmless, even useful, as dropout is. The recorded curves say: with the same split and seed the less noisy server gets a higher accuracy and pays with more bits. That is
#   one seed; [notebook 8](08-a-fair-comparison.ipynb) asks again.
#
# **Next:** [7 · Non-IID](07-non-iid.ipynb)
