"""Exercises of notebooks 06 to 08: estimators, clients, intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from deltamask.config import RunConfig
from deltamask.masking import aggregation
from deltamask.masking.masks import ONE
from deltamask.teaching.checks import Answer, ask, exercises, not_this, same
from deltamask.training import Evaluation, client_accuracy


@exercises.register("posterior_mode")
def _posterior_mode(answer: Answer) -> str:
    for ones, seen in ((3, 5), (0, 5), (12, 20)):
        got = ask(answer, ones, seen)
        not_this(got, (1 + ones) / (2 + seen), "That is the posterior's mean. The paper takes its mode.")
        same(got, ones / seen, "α = 1 + ones, β = 1 + zeros; the mode of Beta(α, β) is (α − 1)/(α + β − 2).")
    assert aggregation.beta(np.array([3], np.int32), 5)[0] == round(0.6 * ONE)
    return "With the flat prior λ₀ = 1 the mode is the share of ones; the posterior only adds memory of earlier rounds."


@exercises.register("unbiased_step")
def _unbiased_step(answer: Answer) -> str:
    rng = np.random.default_rng(6)
    theta = rng.uniform(0.1, 0.9, 50)
    before = rng.random((4, 50)) < theta
    after = before ^ (rng.random((4, 50)) < 0.1)
    got = ask(answer, theta, before, after)
    wanted = theta + (after.astype(float) - before).mean(0)
    not_this(got, after.mean(0), "That is the Beta estimate: it does not use the server's θ_g.")
    not_this(got, theta + (after.astype(float) - before).sum(0), "Average over the clients, do not add them up.")
    same(got, wanted, "θ_g plus the mean over clients of (after − before). Booleans do not subtract: cast first.")
    return "Unchanged positions cancel exactly. Only flips carry noise."


@exercises.register("mean_decoded_mask")
def _mean_decoded_mask(answer: Answer) -> str:
    theta = np.array([0.01, 0.5, 0.95])
    got = ask(answer, theta, 1 / 256)
    not_this(got, theta + 1 / 256, "A false flip turns a 0 into a 1, but also a 1 into a 0.")
    not_this(got, theta * (1 - 1 / 256), "A false flip turns a 1 into a 0, but also a 0 into a 1.")
    same(got, theta + (1 - 2 * theta) / 256, "P(decoded 1) = P(1, not flipped) + P(0, flipped).")
    return "θ + f·(1 − 2θ): false flips pull every probability a little towards ½."


@exercises.register("clients_per_round")
def _clients_per_round(answer: Answer) -> str:
    for rho, clients in ((1.0, 5), (0.3, 10), (0.25, 10), (0.07, 100), (0.001, 5)):
        got = ask(answer, rho, clients)
        wanted = RunConfig(rho=rho, clients=clients).clients_per_round
        hint = "0.07 · 100 is 7.000000000000001 in floating point: allow for that." if rho == 0.07 else "K = ⌈ρN⌉."
        same(got, wanted, f"For ρ = {rho} and {clients} clients that is not it. {hint}")
    return "Rounding up means that a round never goes without clients."


@exercises.register("accuracy_for_client")
def _accuracy_for_client(answer: Answer) -> str:
    by_class = np.array([0.9, 0.5, 0.8])
    counts = np.array([10, 80, 10])
    got = ask(answer, by_class, counts)
    not_this(got, by_class.mean(), "That is for a client with as many samples of each class. This one has mostly one.")
    wanted = client_accuracy(Evaluation(0.0, 0.0, by_class), counts)
    same(got, wanted, "Weight each class's accuracy by the share of the client's samples that have this label.")
    return "The same model, 73 % on average over classes, is right for this client only 57 times in a hundred."


@exercises.register("worst_client")
def _worst_client(answer: Answer) -> str:
    frame = pd.DataFrame(
        {"round": [1, 1, 1, 2, 2, 2], "client": [0, 3, 7, 0, 3, 7], "accuracy": [0.9, 0.2, 0.8, 0.7, 0.9, 0.6]}
    )
    got = ask(answer, frame, 2)
    not_this(got, 3, "That client was worst in round 1.")
    not_this(got, 0.6, "That is its accuracy; return the client's number.")
    not_this(got, 2, "A client's number is not its place in the table.")
    same(got, 7, "Rows of that round only, then the client of the row with the least accuracy.")
    return "Report the worst client as well as the mean."


@exercises.register("interval")
def _interval(answer: Answer) -> str:
    values = [0.87, 0.89, 0.88]
    half = float(stats.t.ppf(0.975, 2) * np.std(values, ddof=1) / np.sqrt(3))
    got = ask(answer, values)
    not_this(got, np.std(values, ddof=1), "That is how seeds spread. How uncertain is their mean?")
    not_this(got, np.std(values) / np.sqrt(3) * stats.t.ppf(0.975, 2), "Divide by n − 1 in the variance: ddof=1.")
    not_this(got, 1.96 * np.std(values, ddof=1) / np.sqrt(3), "1.96 is for many seeds. Three need Student's t.")
    same(got, half, "t(0.975, n − 1) · s / √n, with scipy.stats.t.ppf.")
    return f"Three seeds and one point of spread: ± {100 * half:.1f} points."
