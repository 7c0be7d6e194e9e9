"""Solutions of notebook 2."""

import numpy as np


def expected_ones(scores):
    return (1 / (1 + np.exp(-scores))).sum()


def score_gradient(gradient, weight, theta):
    return gradient * weight * theta * (1 - theta)


# 3. From θ = 0.5 the first epochs stay near chance: w ⊙ θ is half of every sum, in every layer, and the head was made
# for the whole. From 0.99 the network starts almost intact, but θ(1 − θ) is five times smaller than at 0.95, so it
# changes slowly. 0.95 is the compromise.
