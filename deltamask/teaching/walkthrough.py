"""One round on a small real example, every step of it by the package's own functions. Needs no torch.

The example (`data/walk/example.json`, made by `scripts/make_walk_example.py`) is a block of real weights: θ_g as a
server sent it, and θ_k of five clients as local training left it. What may be changed is named in `Settings`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from deltamask.base.paths import data_dir
from deltamask.codecs import CodecContext, bfuse, codecs
from deltamask.codecs.bfuse import FuseCodec, FuseFilter
from deltamask.config.presets import PRESETS
from deltamask.masking import aggregation, masks
from deltamask.masking.masks import ONE, Mask, Positions, Theta
from deltamask.masking.noise import PublicNoise, Words

Bpe = Literal[8, 16, 32]
Noise = Literal["shared", "per_client"]

# name: (lowest, highest) of the numbers that may be changed
RANGES: dict[str, tuple[float, float]] = {
    "kappa": (0.1, 1.0),
    "shift": (-5.0, 1.0),
    "strength": (0.0, 5.0),
    "clients": (1, 5),
    "client": (0, 4),
}
CHOICES: dict[str, tuple[Any, ...]] = {"bpe": get_args(Bpe), "noise": get_args(Noise)}


@dataclass(frozen=True)
class Settings:
    """kappa: share of flips sent. bpe: bits per entry of the filter. shift: added to the score logit θ_g of every
    position, in nats; 0 is as trained. strength: multiplies the clients' real steps on the score; 1 is as trained.
    clients: how many take part. noise: one u for all, or one for each. client: whose steps are shown.
    """

    kappa: float = 0.7
    bpe: int = 8
    shift: float = 0.0
    strength: float = 2.0
    clients: int = 5
    noise: str = "per_client"
    client: int = 0


@dataclass(frozen=True)
class Example:
    """theta: (d,) θ_g. steps: (clients, d) what training added to each score, in nats. side: d = side²."""

    theta: Theta
    steps: npt.NDArray[np.float64]
    side: int
    origin: dict[str, Any]


@dataclass(frozen=True)
class Share:
    """One client's part of the round. kl: of each flip in `flips`. decoded: what the server reads."""

    u: Words
    mask: Mask
    theta: Theta
    flips: Positions
    kl: npt.NDArray[np.float64]
    sent: Positions
    payload: bytes
    filter: FuseFilter
    decoded: Positions
    mask_read: Mask

    @property
    def false(self) -> Positions:
        """Flips that the server reads though nobody sent them."""
        return np.setdiff1d(self.decoded, self.sent, assume_unique=True)

    @property
    def held_back(self) -> Positions:
        """Flips that κ did not let through."""
        return np.setdiff1d(self.flips, self.sent, assume_unique=True)


@dataclass(frozen=True)
class Walk:
    """A whole round. ones: (d,) how many of the clients' masks, as read, have the bit. theta_next: the new θ_g."""

    settings: Settings
    theta: Theta
    shares: list[Share]
    ones: aggregation.Counts
    theta_next: Theta

    @property
    def focus(self) -> Share:
        """The client whose steps are shown."""
        return self.shares[self.settings.client]


@functools.cache
def example() -> Example:
    """The block of real weights that ships with the repository."""
    stored = json.loads((data_dir() / "walk" / "example.json").read_bytes())
    theta = np.array(stored.pop("theta_global"), np.uint16)
    clients = np.array(stored.pop("theta_clients"), np.uint16)
    return Example(theta, _logit(clients) - _logit(theta), round(len(theta) ** 0.5), stored)


def _logit(theta: Theta) -> npt.NDArray[np.float64]:
    value = theta.astype(np.float64) / ONE
    return np.log(value / (1 - value))


def _sigmoid(score: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 1 / (1 + np.exp(-np.clip(score, -masks.SCORE_CLIP, masks.SCORE_CLIP)))


def walk(settings: Settings) -> Walk:
    """Play the round: broadcast, training's steps, flips, κ, filter, picture, decoding, posterior."""
    real = example()
    score = _logit(real.theta) + settings.shift
    theta = masks.to_fixed(_sigmoid(score))
    shares = [_share(settings, theta, real.steps[client], client) for client in range(settings.clients)]
    ones = np.array([share.mask_read for share in shares], np.int32).sum(axis=0, dtype=np.int32)
    return Walk(settings, theta, shares, ones, aggregation.beta(ones, len(shares)))


def _share(settings: Settings, theta: Theta, step: npt.NDArray[np.float64], client: int) -> Share:
    round = example().origin["round"]
    noise = PublicNoise(_seed(), round, client if settings.noise == "per_client" else None)
    both_know = CodecContext(round, client, theta, noise, (0, len(theta)))
    codec = codecs[f"bfuse{settings.bpe}"]
    assert isinstance(codec, FuseCodec)
    u = _of_the_block(noise)
    mask = masks.sample(theta, u)
    trained = masks.to_fixed(_sigmoid(_logit(theta) + settings.strength * step))
    flips = masks.flips(trained, theta, u)
    sent = masks.keep_top(flips, trained, theta, settings.kappa)
    payload = codec.encode(sent, both_know)
    decoded = codec.decode(payload, both_know)
    return Share(
        u=u,
        mask=mask,
        theta=trained,
        flips=flips,
        kl=masks.bernoulli_kl(trained[flips], theta[flips]),
        sent=sent,
        payload=payload,
        filter=bfuse.FuseCodec(settings.bpe).parse(payload, both_know),
        decoded=decoded,
        mask_read=masks.apply_flips(mask, decoded),
    )


def _seed() -> int:
    return PRESETS[example().origin["preset"]].seed


def _of_the_block(noise: PublicNoise) -> Words:
    """u at the block's places in the whole vector: the words that the recorded training itself drew."""
    origin, side = example().origin, example().side
    starts = [origin["start"] + row * origin["width"] + origin["columns"][0] for row in range(*origin["rows"])]
    return np.concatenate([noise.words(start, start + side) for start in starts])


def read_settings(given: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """Settings from a link's words, clamped; and a note for each value that was not in range."""
    known: dict[str, Any] = asdict(Settings())
    notes: list[str] = []
    for field in fields(Settings):
        text = given.get(field.name)
        if text is None:
            continue
        default = known[field.name]
        if field.name in CHOICES:
            match = next((choice for choice in CHOICES[field.name] if str(choice) == text), None)
            if match is None:
                known_words = ", ".join(map(str, CHOICES[field.name]))
                notes.append(f"{field.name} = {text!r} is none of {known_words}: using {default}")
            known[field.name] = default if match is None else match
            continue
        low, high = RANGES[field.name]
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        inside = min(max(value, low), high) if value == value else float(default)
        if inside != value:
            notes.append(f"{field.name} = {text!r} is out of range ({low:g} to {high:g}): using {inside:g}")
        known[field.name] = type(default)(inside)
    if known["client"] >= known["clients"]:
        known["client"] = known["clients"] - 1
        notes.append(f"only {known['clients']} clients take part: showing client {known['client']}")
    return Settings(**known), notes
