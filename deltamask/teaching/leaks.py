"""Exercises of notebook 10: an update read from flips, and what a promise leaves of a guess."""

from __future__ import annotations

import math

import numpy as np

from deltamask.masking.masks import ONE, to_fixed
from deltamask.privacy.leaks import update_of_flips
from deltamask.teaching.checks import Answer, ask, exercises, not_this, same


@exercises.register("read_update")
def _read_update(answer: Answer) -> str:
    rng = np.random.default_rng(10)
    for d in (60, 400):
        theta, u = to_fixed(rng.random(d)), rng.integers(0, ONE, d, np.uint16)
        flips = np.flatnonzero(rng.random(d) < 0.3)
        got, wanted = ask(answer, theta, u, flips), update_of_flips(theta, u, flips)
        not_this(got, -wanted, "Signs are swapped: where the mask was 1, the flip made it 0, and θ has fallen.")
        not_this(got, np.abs(wanted), "A flip has a direction: u < θ says which bit the mask had before.")
        same(got, wanted, "0 where nothing flipped; where it did, −1 if u < θ (the bit was 1), else +1.")
    return "What a client keeps to itself by sending positions alone, u and θ_g tell: each flip has its direction."


@exercises.register("most_found")
def _most_found(answer: Answer) -> str:
    for epsilon, delta, rate in ((1.0, 1e-5, 0.01), (0.5, 0.01, 0.05), (8.0, 1e-5, 0.01), (0.0, 0.0, 0.3)):
        got, most = ask(answer, epsilon, delta, rate), math.exp(epsilon) * rate + delta
        not_this(got, most, "A share cannot be above 1.") if most > 1 else None
        not_this(got, math.exp(epsilon) * rate, "δ is what the promise may fail by: it is added.") if delta else None
        same(got, min(1.0, most), "At most e^ε times as often as for an image that was never there, and δ more.")
    return "At ε 1 an attacker who is wrong about one stranger in a hundred finds at most 2.7 % of the members."
