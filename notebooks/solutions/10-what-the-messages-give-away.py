"""Solutions of notebook 10."""

import math

import numpy as np


def read_update(theta, u, flips):
    update = np.zeros(len(theta))
    update[flips] = np.where(u[flips] < theta[flips], -1, 1)
    return update


def most_found(epsilon, delta, rate):
    return min(1, math.exp(epsilon) * rate + delta)
