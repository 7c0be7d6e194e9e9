"""Solutions of notebook 9."""

import itertools

import numpy as np


def growing(labels, clients):
    ends = [len(labels) * k * k // clients**2 for k in range(clients + 1)]
    return [np.arange(start, stop) for start, stop in itertools.pairwise(ends)]


def chance_overlap(count, d):
    both = count * count / d
    return both / (2 * count - both)
