"""A question to answer before a step of the walkthrough is shown; the answer is computed from the round itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deltamask.masking.masks import ONE
from deltamask.teaching.walkthrough import Walkthrough


@dataclass(frozen=True)
class Question:
    """right: index into `options`. why: the answer, with figures."""

    text: str
    options: tuple[str, ...]
    right: int
    why: str


def question(walk: Walkthrough, step: str) -> Question | None:
    """The question of a step, or None."""
    maker = {
        "u": _noise,
        "m_g": _mask,
        "flips": _flips,
        "kappa": _kappa,
        "filter": _slots,
        "picture": _bytes,
        "server": _false,
        "posterior": _levels,
    }.get(step)
    return maker(walk) if maker else None


def _noise(walk: Walkthrough) -> Question:
    d = len(walk.theta)
    return Question(
        f"Server and client must use the very same {d} random numbers. How many bits does it take to send them?",
        (f"{d}, one a position", f"{16 * d:,}, sixteen a position", "none"),
        2,
        "None. Both draw them from (seed, round, client), which they know. No byte of u is ever sent.",
    )


def _mask(walk: Walkthrough) -> Question:
    d, expected, drawn = len(walk.theta), float(walk.theta.sum()) / ONE, int(walk.shown.mask.sum())
    offered = sorted({round(expected), d // 2, d})
    return Question(
        f"How many of the {d} mask bits will be 1?",
        tuple(f"about {n}" if n < d else f"all {d}" for n in offered),
        offered.index(round(expected)),
        f"There are {drawn}. A bit is 1 with probability θ_g, so about Σθ_g = {expected:.1f} are expected.",
    )


def _flips(walk: Walkthrough) -> Question:
    client, d = walk.shown, len(walk.theta)
    moved, found = int((client.theta != walk.theta).sum()), len(client.flips)
    options = ("none at all", f"a few: fewer than {d // 8}", f"many: from {d // 8} to {d // 2}", f"more than {d // 2}")
    right = 0 if found == 0 else 1 if found < d // 8 else 2 if found <= d // 2 else 3
    return Question(
        f"Training moved θ at {moved} of {d} positions. At how many does the mask bit change, drawn with the same u?",
        options,
        right,
        f"At {found}. A bit flips only where u lies between θ_g and θ_k. With fresh noise instead, "
        f"{_fresh(walk):.0f} would be expected to differ even without any learning.",
    )


def _fresh(walk: Walkthrough) -> float:
    """How many bits of two independent draws of the global mask differ, in expectation."""
    theta = walk.theta.astype(np.float64) / ONE
    return float((2 * theta * (1 - theta)).sum())


def _kappa(walk: Walkthrough) -> Question | None:
    client = walk.shown
    if not len(client.held_back):
        return None
    kept = np.isin(client.flips, client.sent, assume_unique=True)
    return Question(
        f"κ = {walk.settings.kappa:g} keeps {len(client.sent)} of {len(client.flips)} flips. Which?",
        ("those found first", "those where θ moved most, by KL divergence", "a random choice"),
        1,
        f"The least KL among those kept is {client.kl[kept].min():.4f} nats; the largest of those held back is "
        f"{client.kl[~kept].max():.4f}.",
    )


def _slots(walk: Walkthrough) -> Question | None:
    client = walk.shown
    count, slots = len(client.sent), len(client.filter.fingerprints)
    if not count:
        return None
    ratio = slots / count
    return Question(
        f"A fuse filter for millions of flips has 1.13 slots for each. How many has it for these {count}?",
        (f"{count}", f"about {1.13 * count:.0f}", f"clearly more than {1.13 * count:.0f}"),
        0 if slots == count else 1 if ratio < 1.25 else 2,
        f"It has {slots}, which is {ratio:.2f} for each. Small sets need slack, or no seed works; large "
        "ones need less.",
    )


def _bytes(walk: Walkthrough) -> Question:
    d, size = len(walk.theta), len(walk.shown.payload)
    raw = -(-d // 8)
    return Question(
        f"The whole mask of {d} bits would be {raw} bytes. Is the picture smaller?",
        ("yes, much smaller", "about the same", "no, larger"),
        0 if size < 0.8 * raw else 1 if size <= 1.25 * raw else 2,
        f"It has {size} bytes: header, sizes and the PNG's frame alone are about a hundred. At d = {d} the "
        "method loses. It wins at d in the millions, where these are nothing and one position in a hundred "
        "flips.",
    )


def _false(walk: Walkthrough) -> Question:
    client, d, bpe = walk.shown, len(walk.theta), walk.settings.bpe
    outside = d - len(client.sent)
    expected = outside / 2**bpe if len(client.sent) else 0.0
    found = len(client.false)
    options = ("none", "one or two", "three or more")
    return Question(
        f"The server asks about all {d} positions. How many of the {outside} not sent will it flip by mistake?",
        options,
        0 if found == 0 else 1 if found <= 2 else 2,
        f"It flips {found}. Each has a chance of 1 in {2**bpe:,}, so {expected:.2g} are expected; "
        f"at d = 1,009,792 it is {1_009_792 / 2**bpe:,.1f} for every client in every round.",
    )


def _levels(walk: Walkthrough) -> Question:
    clients = len(walk.clients)
    found = len(np.unique(walk.theta_next))
    return Question(
        f"{clients} masks are averaged. How many different values can the new θ_g have at most?",
        (f"{clients}", f"{clients + 1}", "65,536, all that 16 bits can hold"),
        1,
        f"At most {clients + 1}: a count from 0 to {clients}, divided by {clients} (and clipped). Here {found} occur."
        + (
            " With one u for all, the clients mostly agree, and few values lie between 0 and 1."
            if walk.settings.noise == "shared"
            else ""
        ),
    )
