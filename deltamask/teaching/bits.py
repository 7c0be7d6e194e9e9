"""Exercises of notebooks 01 to 03: bits, scores, flips."""

from __future__ import annotations

import numpy as np

from deltamask.masking import masks
from deltamask.masking.masks import ONE
from deltamask.masking.noise import PublicNoise
from deltamask.simulation.ledger import bits_per_parameter
from deltamask.teaching.checks import Answer, ask, exercises, not_this, same

D = 4_000


def _case(seed: int) -> tuple[masks.Theta, masks.Theta, np.ndarray]:
    """(θ_k, θ_g, u) of shape (D,), fixed point."""
    rng = np.random.default_rng(seed)
    score = rng.normal(1.5, 2, D)
    theta_global = masks.to_fixed(1 / (1 + np.exp(-score)))
    theta_client = masks.to_fixed(1 / (1 + np.exp(-score - rng.normal(0, 0.5, D))))
    return theta_client, theta_global, PublicNoise(seed, 1, 0).words(0, D)


@exercises.register("fedavg_bytes")
def _fedavg_bytes(answer: Answer) -> str:
    for parameters, clients, rounds in ((10, 1, 1), (1_000, 3, 7)):
        got = ask(answer, parameters, clients, rounds)
        wanted = 2 * 4 * parameters * clients * rounds
        not_this(got, wanted / 2, "You counted one direction. A client must first receive the model it improves.")
        not_this(got, 8 * wanted, "These are bits. The question is for bytes.")
        same(got, wanted, f"For {parameters} float32 parameters, {clients} clients and {rounds} rounds that is not it.")
    return "Twice as much as most papers' uplink figure says, because the model must also reach the clients."


@exercises.register("bpp")
def _bpp(answer: Answer) -> str:
    sizes = [900, 1_100, 1_000]
    got = ask(answer, sizes, 10_000)
    not_this(got, sum(sizes) / 3 / 10_000, "Bytes or bits?")
    not_this(got, 8 * sum(sizes) / 10_000, "This grows with the number of clients. bpp is what one client sends.")
    same(got, bits_per_parameter(sum(sizes), 10_000, 3), "Average the bytes over the clients, turn them into bits.")
    return "The mean over clients, in bits, by the number of maskable weights: this is the axis of every chart here."


@exercises.register("rounds_within")
def _rounds_within(answer: Answer) -> str:
    got = ask(answer, 1_000_000, 47_740, 9_800)
    not_this(got, 1_000_000 // 9_800, "The probing round comes first, and it is not free.")
    not_this(got, (1_000_000 - 47_740) / 9_800, "A round is sent whole or not at all.")
    same(got, 97, "Take the head's bytes off the budget; how many whole payloads fit into the rest?")
    same(ask(answer, 40_000, 47_740, 9_800), 0, "What if the budget does not even pay for the head? Never below zero.")
    return "Sending the head costs as much as several rounds of masks. It is in every figure of this project."


@exercises.register("expected_ones")
def _expected_ones(answer: Answer) -> str:
    scores = np.array([-2.0, 0.0, 0.5, 4.0])
    got = ask(answer, scores)
    not_this(got, (scores > 0).sum(), "That counts the likely ones. A weight with θ = 0.5 is kept half of the time.")
    not_this(got, scores.sum(), "Scores are not probabilities yet: what turns one into the other?")
    same(got, (1 / (1 + np.exp(-scores))).sum(), "The expectation of a Bernoulli draw is its probability; add them up.")
    return "Expectations add up, whatever the draws have to do with each other."


@exercises.register("score_gradient")
def _score_gradient(answer: Answer) -> str:
    rng = np.random.default_rng(2)
    gradient, weight, score = rng.normal(size=(3, 6))
    theta = 1 / (1 + np.exp(-score))
    got = ask(answer, gradient, weight, theta)
    not_this(got, gradient * theta * (1 - theta), "The mask multiplies a weight: ∂(m·w)/∂m is not 1.")
    not_this(got, gradient * weight, "That is the gradient for θ. One more factor leads from θ to its score.")
    not_this(got, gradient * weight * theta, "The derivative of the sigmoid has two factors.")
    same(got, gradient * weight * theta * (1 - theta), "Chain rule: loss → m·w → m (taken as θ) → score.")
    return "Near θ = 0 and θ = 1 it vanishes: such a weight needs many steps to change."


@exercises.register("find_flips")
def _find_flips(answer: Answer) -> str:
    theta_client, theta_global, u = _case(1)
    got = ask(answer, theta_client, theta_global, u)
    wanted = masks.flips(theta_client, theta_global, u)
    not_this(got, np.flatnonzero(theta_client != theta_global), "θ moved nearly everywhere. Which *masks* differ?")
    not_this(got, (u < theta_client) != (u < theta_global), "The right places, as a mask; return their positions.")
    same(got, wanted, "Draw both masks from the same u, m = [u < θ], and list the positions where they differ.")
    return "Both masks use one u, so they differ only where θ has changed."


@exercises.register("flip_probability")
def _flip_probability(answer: Answer) -> str:
    theta_client, theta_global, _ = _case(2)
    client, globally = theta_client / ONE, theta_global / ONE
    got = ask(answer, client, globally)
    not_this(got, client - globally, "Probabilities are not negative. A flip happens in either direction.")
    redrawn = client * (1 - globally) + globally * (1 - client)
    not_this(got, redrawn, "That is for two independent draws. Here both masks come from one u.")
    same(got, np.abs(client - globally), "Draw a line from 0 to 1, mark both θ: for which u do the masks differ?")
    return "So the expected number of flips is Σ|θ_k − θ_g|: only learning makes flips."


@exercises.register("keep_strongest")
def _keep_strongest(answer: Answer) -> str:
    theta_client, theta_global, u = _case(3)
    flips = masks.flips(theta_client, theta_global, u)
    gain = masks.bernoulli_kl(theta_client[flips], theta_global[flips])
    wanted = masks.keep_top(flips, theta_client, theta_global, 0.3)
    got = ask(answer, flips, gain, 0.3)
    weakest = flips[np.argsort(gain, kind="stable")[: len(wanted)]]
    not_this(np.sort(got), np.sort(weakest), "Those are the flips with the smallest divergence.")
    if not np.array_equal(got, wanted):
        not_this(np.sort(got), wanted, "The right ones, but codecs want them sorted by position.")
    same(got, wanted, f"⌈0.3 · {len(flips)}⌉ = {len(wanted)} positions, those with the largest divergence, sorted.")
    same(ask(answer, flips, gain, 1.0), flips, "κ = 1 keeps every flip.")
    return "Ranking needs only what the client has; the server never learns what was left out."
