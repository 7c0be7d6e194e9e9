"""The steps of the walkthrough: the text of each, the grids it shows, and the table of their numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from learn.grids import ALL, FALSE, HELD_BACK, NEUTRAL, SENT, Grid, bits, members, noise, probability

from deltamask.inspection.anatomy import meaning
from deltamask.inspection.filter_lookup import look_up
from deltamask.masking.masks import ONE
from deltamask.teaching.walkthrough import Walkthrough, example

Table = dict[str, Any]
ROLE_COLORS = {"header": SENT, "field": ALL, "padding": HELD_BACK}


@dataclass(frozen=True)
class Scene:
    """One step. key: in links. sign: on its button. notebook: the one that explains more."""

    key: str
    sign: str
    title: str
    text: Callable[[Walkthrough], str]
    grids: Callable[[Walkthrough], list[Grid]]
    table: Callable[[Walkthrough], Table]
    notebook: str


def _columns(**make: Callable[[Walkthrough], npt.NDArray[Any]]) -> Callable[[Walkthrough], Table]:
    """A table with a row for each position."""

    def table(w: Walkthrough) -> Table:
        place, side = np.arange(len(w.theta)), example().side
        return {"position": place, "row": place // side, "column": place % side} | {n: f(w) for n, f in make.items()}

    return table


def _theta_g(w: Walkthrough) -> npt.NDArray[Any]:
    return np.round(w.theta / ONE, 5)


def _theta_k(w: Walkthrough) -> npt.NDArray[Any]:
    return np.round(w.shown.theta / ONE, 5)


def _theta_next(w: Walkthrough) -> npt.NDArray[Any]:
    return np.round(w.theta_next / ONE, 5)


def _u(w: Walkthrough) -> npt.NDArray[Any]:
    return np.round(w.shown.u / ONE, 5)


def _m_g(w: Walkthrough) -> npt.NDArray[Any]:
    return w.shown.mask.astype(int)


def _m_k(w: Walkthrough) -> npt.NDArray[Any]:
    return w.shown.trained_mask.astype(int)


def _has(name: str) -> Callable[[Walkthrough], npt.NDArray[Any]]:
    return lambda w: np.isin(np.arange(len(w.theta)), getattr(w.shown, name)).astype(int)


# What each step says


def _text_theta(w: Walkthrough) -> str:
    return (
        "A mask bit decides whether a pretrained weight is used. The server does not keep bits but θ_g, the "
        f"probability that each is 1. These are {len(w.theta)} real weights of a network that is learning, "
        f"before its round {example().origin['round']}."
    )


def _text_u(w: Walkthrough) -> str:
    return "To turn probabilities into bits one needs random numbers, and server and client must have the same ones: u."


def _text_m_g(w: Walkthrough) -> str:
    return "A bit is 1 where u is below θ_g. Client and server now hold the same mask without sending it."


def _text_theta_k(w: Walkthrough) -> str:
    size = "as they were" if w.settings.strength == 1 else f"times {w.settings.strength:g}"
    return (
        "A client learns on its own data. Steps along the gradient on the scores, logit θ, make some weights "
        f"likelier to stay and others to go. These are client {w.settings.client}'s steps in real training, "
        f"{size}."
    )


def _text_flips(w: Walkthrough) -> str:
    return (
        "The client draws its mask with the same u: a bit differs only where learning pushed θ across u. "
        "That is a flip."
    )


def _text_kappa(w: Walkthrough) -> str:
    return (
        f"κ = {w.settings.kappa:g}: of {len(w.shown.flips)} flips, {len(w.shown.sent)} are sent. The others "
        "are not sent in this round."
    )


def _text_filter(w: Walkthrough) -> str:
    client = w.shown
    if not len(client.sent):
        return "Nothing is to be sent, so the filter is empty. Make learning stronger, or raise κ."
    answer, width = look_up(client.filter, int(client.sent[0])), 2 * client.filter.fingerprints.itemsize
    values = " xor ".join(f"`{value:0{width}x}`" for value in answer.values)
    return (
        f"A binary fuse filter keeps {w.settings.bpe} bits a slot, and no position at all. It can only be "
        f"asked: is this one in the set? Position {answer.position} asks slots "
        f"{', '.join(map(str, answer.slots))} (framed): {values} = `{answer.combined:0{width}x}`. That is its "
        "own fingerprint, so yes."
    )


def _text_picture(w: Walkthrough) -> str:
    anatomy = w.anatomy()
    return (
        f"A header with round and client, the filter's sizes and seed, and its slots: {len(anatomy.message)} "
        f"bytes, the pixels of a {anatomy.width} × {anatomy.height} grayscale PNG. That file, and nothing else, "
        "crosses the network."
    )


def _text_server(w: Walkthrough) -> str:
    return (
        "The server reads the filter out of the picture, asks it about every position, and flips where it says yes. No "
        "sent flip is ever missed; others may be flipped by mistake."
    )


def _text_posterior(w: Walkthrough) -> str:
    return (
        f"The {len(w.clients)} masks are counted, bit by bit. The new θ_g is the mode of a Beta posterior, "
        "which is the share of ones, kept inside [0.0025, 0.9975]. And the next round begins."
    )


# What each step shows


def _show_theta_k(w: Walkthrough) -> list[Grid]:
    change = (w.shown.theta.astype(int) - w.theta.astype(int)) / ONE
    most = max(1e-9, float(np.abs(change).max()))
    cells = [(ALL if c > 0 else FALSE, 0.05 + 0.95 * abs(c) / most, f"{c:+.4f}") for c in change.tolist()]
    steps = Grid("θ_k − θ_g", cells, example().side, about="green: up, orange: down")
    return [probability("θ_g", w.theta), probability("θ_k", w.shown.theta), steps]


def _show_flips(w: Walkthrough) -> list[Grid]:
    client = w.shown
    frames = [(client.flips.tolist(), ALL)]
    return [
        bits("m_g = [u < θ_g]", client.mask, marks=frames),
        bits("m_k = [u < θ_k]", client.trained_mask, marks=frames),
        members("Δ, the flips", len(w.theta), [(client.flips, ALL, "a flip")]),
    ]


def _show_kappa(w: Walkthrough) -> list[Grid]:
    client, d = w.shown, len(w.theta)
    sets = [(client.sent, SENT, "sent"), (client.held_back, HELD_BACK, "held back")]
    return [
        members("Δ, the flips", d, [(client.flips, ALL, "a flip")]),
        members("Δ′, what is sent", d, sets, about="blue: sent, grey: held back"),
    ]


def _show_filter(w: Walkthrough) -> list[Grid]:
    client = w.shown
    values, width = client.filter.fingerprints.tolist(), 2 * client.filter.fingerprints.itemsize
    frames = [(look_up(client.filter, int(client.sent[0])).slots, SENT)] if len(client.sent) else []
    cells = [(NEUTRAL, 0.05 + 0.5 * v / 16**width, f"slot {i}: {v:0{width}x}") for i, v in enumerate(values)]
    texts = [f"{value:02x}" for value in values] if width == 2 else []
    slots = Grid("the filter's slots", cells, max(4, min(12, len(values))), frames, texts, about="what comes out")
    return [members("Δ′", len(w.theta), [(client.sent, SENT, "sent")], about="what goes in"), slots]


def _show_picture(w: Walkthrough) -> list[Grid]:
    anatomy = w.anatomy()
    cells = [(f"rgb({v},{v},{v})", 1.0, meaning(anatomy, i).text) for i, v in enumerate(anatomy.pixels)]
    frames = [
        (range(part.start, part.stop), ROLE_COLORS[part.role]) for part in anatomy.sections if part.role in ROLE_COLORS
    ]
    about = "blue: header, green: sizes and seed, grey: padding"
    return [Grid("the PNG's pixels", cells, anatomy.width, frames, about=about)]


def _show_server(w: Walkthrough) -> list[Grid]:
    client = w.shown
    sets = [(client.sent, SENT, "a sent flip"), (client.false, FALSE, "a false flip")]
    frames = [(client.sent.tolist(), SENT), (client.false.tolist(), FALSE)]
    return [
        members("where it says yes", len(w.theta), sets, about="blue: sent, orange: false"),
        bits("m_g", client.mask),
        bits("m̂_k, the mask as read", client.mask_decoded, marks=frames),
    ]


def _show_posterior(w: Walkthrough) -> list[Grid]:
    clients = len(w.clients)
    cells = [(NEUTRAL, 0.03 + 0.4 * n / clients, f"{n} of {clients}") for n in w.ones.tolist()]
    counts = Grid("Σ m̂_k", cells, example().side, texts=list(map(str, w.ones)), about=f"out of {clients} masks")
    return [probability("θ_g before", w.theta), counts, probability("θ_g of the next round", w.theta_next)]


def _kl_table(w: Walkthrough) -> Table:
    client = w.shown
    order = np.argsort(-client.kl, kind="stable")
    return {
        "position": client.flips[order],
        "KL(θ_k‖θ_g), nats": np.round(client.kl[order], 6),
        "sent": np.isin(client.flips[order], client.sent).astype(int),
    }


def _slot_table(w: Walkthrough) -> Table:
    values = w.shown.filter.fingerprints
    return {"slot": np.arange(len(values)), "fingerprint": values}


def _pixel_table(w: Walkthrough) -> Table:
    anatomy = w.anatomy()
    found = [meaning(anatomy, i) for i in range(len(anatomy.pixels))]
    return {"byte": [m.offset for m in found], "value": [m.value for m in found], "what": [m.text for m in found]}


SCENES = (
    Scene(
        "theta", "θ", "The server keeps a probability for every weight",
        _text_theta, lambda w: [probability("θ_g", w.theta)], _columns(θ_g=_theta_g), "02-masks-instead-of-weights",
    ),
    Scene(
        "u", "u", "Server and clients draw the same noise",
        _text_u, lambda w: [probability("θ_g", w.theta), noise(w.shown.u)], _columns(θ_g=_theta_g, u=_u),
        "02-masks-instead-of-weights",
    ),
    Scene(
        "m_g", "m_g", "Probabilities become the global mask",
        _text_m_g, lambda w: [probability("θ_g", w.theta), noise(w.shown.u), bits("m_g = [u < θ_g]", w.shown.mask)],
        _columns(θ_g=_theta_g, u=_u, m_g=_m_g), "02-masks-instead-of-weights",
    ),
    Scene(
        "theta_k", "θ_k", "A client trains on its own data",
        _text_theta_k, _show_theta_k, _columns(θ_g=_theta_g, θ_k=_theta_k), "02-masks-instead-of-weights",
    ),
    Scene(
        "flips", "Δ", "Only what changed matters",
        _text_flips, _show_flips, _columns(m_g=_m_g, m_k=_m_k, flip=_has("flips")), "03-what-changed",
    ),
    Scene(
        "kappa", "κ", "The most important flips go first",
        _text_kappa, _show_kappa, _kl_table, "03-what-changed",
    ),
    Scene(
        "filter", "filter", "The flips go into a filter",
        _text_filter, _show_filter, _slot_table, "04-filters-from-scratch",
    ),
    Scene(
        "picture", "picture", "The filter's bytes become a picture",
        _text_picture, _show_picture, _pixel_table, "05-a-picture-of-an-update",
    ),
    Scene(
        "server", "m̂_k", "The server asks about every position",
        _text_server, _show_server, _columns(sent=_has("sent"), false=_has("false"), m_g=_m_g), "06-the-servers-view",
    ),
    Scene(
        "posterior", "θ_g′", "The masks become the new probabilities",
        _text_posterior, _show_posterior, _columns(θ_g=_theta_g, ones=lambda w: w.ones, next=_theta_next),
        "06-the-servers-view",
    ),
)  # fmt: skip
