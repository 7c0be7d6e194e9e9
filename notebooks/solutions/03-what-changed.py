"""Solutions of notebook 3."""

import numpy as np


def find_flips(theta_client, theta_global, u):
    return np.flatnonzero((u < theta_client) != (u < theta_global))


def flip_probability(theta_client, theta_global):
    return np.abs(theta_client - theta_global)  # u must lie between the two


def keep_strongest(flips, divergence, kappa):
    count = int(np.ceil(kappa * len(flips)))
    return np.sort(flips[np.argsort(-divergence, kind="stable")[:count]])
