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
# # 2 · Masks instead of weights
#
# **Goal.** Fine-tune a network without changing a single weight: by deciding which ones to keep. See how a decision that has no gradient
# is learnt by gradient descent.
#
# *15 minutes to read, about a minute to run. [All notebooks](index.ipynb) · before this:
# [1 · Why bits matter](01-why-bits-matter.ipynb) · [the same in the dashboard](http://localhost:8501/learn)*
#
# A weight is 32 bits. A decision about a weight, keep it or set it to zero, is one bit. If decisions were enough to adapt a pretrained
# network, a client would have 32 times less to send, even before compression.
#
# > **Predict first.** Take a network trained on ImageNet photographs and teach it ten kinds of clothing, in two ways: train a new
# > classifier head on top (12,810 numbers, any values), or, with that head frozen, only *delete* weights of its last layers. Can
# > deleting gain anything on top of the head?

# %%
import numpy as np
import torch

from deltamask import RunConfig, training
from deltamask.masking import masks
from deltamask.task.task import load_task
from deltamask.teaching import check, figures

figures.use_theme()

# %% [markdown]
# ## A weight that is there with probability θ
#
# One cannot follow a gradient through "keep or delete": a step function is flat wherever it is not broken. So each weight gets a
# **score** s, any real number, and the score a probability θ = σ(s). Before every training step the mask is drawn:
#
# $$\theta = \sigma(s) = \frac{1}{1 + e^{-s}}, \qquad m \sim \text{Bernoulli}(\theta), \qquad \text{effective weight} = m \cdot w .$$
#
# The score is what the optimiser moves. It may go anywhere, so no step ever leads outside [0, 1]; and moving a decided weight
# (θ near 0 or 1) takes many steps, while an undecided one is quick.

# %%
score = np.linspace(-6, 6, 121)
theta = 1 / (1 + np.exp(-score))
figures.lines(
    score,
    {"θ = σ(s)": theta, "θ(1 − θ), how fast θ moves with s": theta * (1 - theta)},
    axes=("score s", ""),
)

# %% [markdown]
# Scores are held in ±6, so θ stays between 0.0025 and 0.9975: every weight can still change. The package keeps θ as a whole
# number of 65,536ths, because server and client must later draw *the same* mask, bit for bit, on different machines.

# %%
print(f"σ(±6) in fixed point: {masks.THETA_MIN} and {masks.THETA_MAX} of {masks.ONE}")

# %% [markdown]
# ## Straight through
#
# The forward pass uses the drawn m. The backward pass needs ∂L/∂s, and m does not depend on s smoothly. The **straight-through
# estimator** pretends that the draw had been θ itself.
#
# $$\frac{\partial L}{\partial s} \;\approx\; \underbrace{\frac{\partial L}{\partial (m w)} \cdot w}_{\partial L / \partial m}
# \;\cdot\; \underbrace{\theta (1 - \theta)}_{\partial \theta / \partial s}$$
#
# How wrong is that? On a network small enough, we can know. Eight weights have 2⁸ = 256 masks, so the *expected* loss over
# all masks is a finite sum, a smooth function of the scores, and has a true gradient. We compare it with the average of many
# straight-through gradients.

# %%
rng = torch.Generator().manual_seed(0)
weight = torch.randn(8, generator=rng)
x, y = torch.randn(64, 8, generator=rng), torch.randint(0, 2, (64,), generator=rng).float()
s = torch.randn(8, generator=rng)


def loss(mask: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.binary_cross_entropy_with_logits(x @ (mask * weight), y)


every_mask = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 8)
scores = s.clone().requires_grad_(True)
p = torch.sigmoid(scores)
chance = (every_mask * p + (1 - every_mask) * (1 - p)).prod(1)
expected_loss = (chance * torch.stack([loss(mask) for mask in every_mask])).sum()
true_gradient = torch.autograd.grad(expected_loss, scores)[0]

estimates = []
for _ in range(2000):
    mask = (torch.rand(8, generator=rng) < torch.sigmoid(s)).float().requires_grad_(True)
    (by_mask,) = torch.autograd.grad(loss(mask), mask)
    estimates.append(by_mask * torch.sigmoid(s) * (1 - torch.sigmoid(s)))
mean_estimate = torch.stack(estimates).mean(0)

names = [f"weight {index}" for index in range(8)]
series = {
    "true gradient of the expected loss": true_gradient,
    "straight through, mean of 2,000 draws": mean_estimate,
}
figures.bars(names, series, axis="∂L/∂s", text=".4f")

# %%
same = int((true_gradient.sign() == mean_estimate.sign()).sum())
cosine = torch.nn.functional.cosine_similarity(true_gradient, mean_estimate, dim=0)
print(f"same sign for {same} of 8 weights; cosine between the two gradients {cosine:.2f}")

# %% [markdown]
# Not the same: wherever the loss is curved in m the estimator is biased, here so much that one weight is pushed the
# wrong way. As a whole it still points downhill, and it costs one ordinary backward pass instead of 256. (For a loss that is
# linear in the mask it would be exact. Try `(x @ (mask * weight)).mean()`.)
#
# ## On the real network
#
# One client holds everything here; federation comes later. First the classifier head, trained on the untouched network. This is
# the linear probe, which the mask has to beat.

# %%
EPOCHS = 8
config = RunConfig(clients=1, rounds=EPOCHS, lr_schedule="cosine")
task = load_task(config)
head, _ = training.train_head(
    task,
    np.zeros(task.head_size, np.float32),
    config,
    epochs=config.probe_epochs,
    round=0,
    client=0,
)
probe = training.evaluate(task, task.tail.weights, head).accuracy
print(
    f"{len(task.train_y):,} training and {len(task.test_y):,} test images; linear probe: {probe:.4f}"
)

# %% [markdown]
# Now freeze the head and train scores. Every weight starts at θ = 0.95: nearly everything of the pretrained network is kept.
# (Started at 0.5, half of the terms of every sum are missing at once, and little of what the network knew is left.)
#
# A mask is random; the test accuracy should not be. So we evaluate three networks: the **mean** mask, w ⊙ θ, which has no draw in it; the
# **threshold** mask, w ⊙ [θ > ½]; and one **sampled** mask.

# %%
theta = masks.to_fixed(np.full(task.d, config.theta_init))
u = np.random.default_rng(0).integers(0, masks.ONE, task.d, np.uint16)
kinds = {
    "mean": lambda theta: torch.from_numpy(masks.to_float(theta)),
    "threshold": lambda theta: torch.from_numpy(theta > masks.ONE // 2),
    "sampled": lambda theta: torch.from_numpy(masks.sample(theta, u)),
}


def accuracy(mask: torch.Tensor) -> float:
    return training.evaluate(task, task.tail.weights * mask, head).accuracy


curves = {kind: [accuracy(mask(theta))] for kind, mask in kinds.items()}
for epoch in range(1, EPOCHS + 1):
    theta = training.train_scores(task, head, theta, config, round=epoch, client=0).theta
    for kind, mask in kinds.items():
        curves[kind].append(accuracy(mask(theta)))

figure = figures.lines(range(EPOCHS + 1), curves, axes=("epoch", "test accuracy"))
figure.add_hline(
    y=probe, line={"dash": "dash", "color": figures.GRAY}, annotation_text="linear probe"
)
figure

# %% [markdown]
# At first the mask does *worse* than the probe: while the scores have moved little, a mask near 0.95 removes good
# weights at random, and the head was not trained for that. Then it overtakes. Is the lead more than luck? Both networks saw the same
# test images, so count only those on which they disagree:

# %%
from scipy.stats import binomtest


def right(effective: torch.Tensor) -> np.ndarray:
    weight, bias = training.split_head(head, task)
    logits = torch.nn.functional.linear(task.pooled(task.test_x, effective), weight, bias)
    return (logits.argmax(1) == task.test_y).numpy()


by_probe, by_mask = (
    right(task.tail.weights),
    right(task.tail.weights * kinds["mean"](theta)),
)
gained, lost = int((by_mask & ~by_probe).sum()), int((by_probe & ~by_mask).sum())
print(
    f"the mask is right where the probe is wrong on {gained} images, and the reverse on {lost}"
)
luck = binomtest(gained, gained + lost).pvalue
print(
    f"mask {by_mask.mean():.4f}, probe {by_probe.mean():.4f}; by luck alone: p = {luck:.2g}"
)

# %% [markdown]
# **The answer to the prediction**: yes. Deleting weights, and nothing else, gains on top of the head.
#
# How many were deleted? Fewer than one might think:

# %%
print(f"the threshold mask deletes {np.mean(theta <= masks.ONE // 2):.2%} of the weights")
figures.histograms(
    {"after training": masks.to_float(theta)},
    axes=("θ", "weights (logarithmic)"),
    span=(0, 1),
    bins=50,
    log_y=True,
)

# %% [markdown]
# A few weights made the loss larger and were pushed below ½; most stayed, or rose towards 1. One bit each would
# describe the decisions. [Notebook 3](03-what-changed.ipynb) asks how many of these bits *changed*, which is far fewer, and that is where DeltaMask starts.
#
# ## Exercises
#
# **1.** How many weights does a sampled mask keep on average, for given scores?


# %% tags=["exercise"]
def expected_ones(scores):
    return ...


check(expected_ones)

# %% [markdown]
# **2.** The straight-through gradient for the scores. `gradient` is ∂L/∂(m·w), as backpropagation leaves it.


# %% tags=["exercise"]
def score_gradient(gradient, weight, theta):
    return ...


check(score_gradient)

# %% [markdown]
# **3.** (No check.) Start at `theta_init=0.5` and at 0.99, for three epochs. Which one recovers? What does the first epoch of each look like?
#
# ## What would show this to be wrong?
#
# - A head that is simply undertrained: then *any* further training would win. Train it for twice as many epochs and look again.

# %%
longer, _ = training.train_head(
    task, head, config, epochs=config.probe_epochs, round=1, client=0
)
print(
    f"probe after 40 epochs {probe:.4f}, after 80 {training.evaluate(task, task.tail.weights, longer).accuracy:.4f}"
)

# %% [markdown]
# - A random mask that deletes as many weights and does as well. Then learning would have nothing to do with it.

# %%
shuffled = torch.from_numpy(np.random.default_rng(1).permutation(theta > masks.ONE // 2))
print(
    f"threshold mask {curves['threshold'][-1]:.4f}; as many weights deleted at random {accuracy(shuffled):.4f}"
)

# %% [markdown]
# - Another seed in which the mask loses. One run with 2,000 test images is one run; differences below a point mean little
#   ([notebook 8](08-a-fair-comparison.ipynb)).
#
# **Next:** [3 · What changed?](03-what-changed.ipynb)
