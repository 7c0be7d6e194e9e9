"""One round on a small real example, computed by the package's own functions. Needs no torch.

The example (`data/walk/example.json`, made by `scripts/make_walk_example.py`) is a block of real weights: θ_g as a
server sent it, and θ_k of five clients after local training. `Settings` holds what can be changed.
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
from deltamask.codecs import CodecContext, codecs
from deltamask.codecs.bfuse import FuseCodec, FuseFilter
from deltamask.config.presets import PRESETS
from deltamask.inspection.anatomy import Anatomy, take_apart
from deltamask.masking import aggregation, masks
from deltamask.masking.masks import ONE, Mask, Positions, Theta
from deltamask.masking.noise import PublicNoise, Words

Bpe = Literal[8, 16, 32]
Noise = Literal["shared", "per_client"]

# name: (lowest, highest) of the numbers that can be changed
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
class ClientRound:
    """One client's part of the round.

    mask: m_g with this client's u. theta: θ_k after training. kl: of each flip in `flips`. decoded: what the server
    reads. mask_decoded: m̂_k.
    """

    u: Words
    mask: Mask
    theta: Theta
    flips: Positions
    kl: npt.NDArray[np.float64]
    sent: Positions
    payload: bytes
    filter: FuseFilter
    decoded: Positions
    mask_decoded: Mask

    @property
    def trained_mask(self) -> Mask:
        """m_k: the client's mask after training, drawn with the same u."""
        return masks.sample(self.theta, self.u)

    @property
    def false(self) -> Positions:
        """Flips that the server decodes but that were not sent."""
        return np.setdiff1d(self.decoded, self.sent, assume_unique=True)

    @property
    def held_back(self) -> Positions:
        """Flips that were not sent because of κ."""
        return np.setdiff1d(self.flips, self.sent, assume_unique=True)


@dataclass(frozen=True)
class Walkthrough:
    """A whole round. ones: (d,) how many of the decoded masks have the bit. theta_next: the new θ_g."""

    settings: Settings
    theta: Theta
    clients: list[ClientRound]
    ones: aggregation.Counts
    theta_next: Theta

    @property
    def shown(self) -> ClientRound:
        """The client whose steps are shown."""
        return self.clients[self.settings.client]

    def anatomy(self) -> Anatomy:
        """The shown client's payload, taken apart."""
        context = _context(self.settings, self.theta, self.settings.client)
        return take_apart(self.shown.payload, context)


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


def play_round(settings: Settings) -> Walkthrough:
    """Broadcast, training's steps, flips, κ, filter, picture, decoding, posterior."""
    real = example()
    score = _logit(real.theta) + settings.shift
    theta = masks.to_fixed(_sigmoid(score))
    clients = [_play_client(settings, theta, real.steps[client], client) for client in range(settings.clients)]
    ones = np.array([client.mask_decoded for client in clients], np.int32).sum(axis=0, dtype=np.int32)
    return Walkthrough(settings, theta, clients, ones, aggregation.beta(ones, len(clients)))


def _context(settings: Settings, theta: Theta, client: int) -> CodecContext:
    """What server and client both know before the client's payload travels."""
    round = example().origin["round"]
    noise = PublicNoise(_seed(), round, client if settings.noise == "per_client" else None)
    return CodecContext(round, client, theta, noise, (0, len(theta)))


def _play_client(settings: Settings, theta: Theta, step: npt.NDArray[np.float64], client: int) -> ClientRound:
    context = _context(settings, theta, client)
    codec = codecs[f"bfuse{settings.bpe}"]
    assert isinstance(codec, FuseCodec)
    u = _words_of_block(context.noise)
    mask = masks.sample(theta, u)
    trained = masks.to_fixed(_sigmoid(_logit(theta) + settings.strength * step))
    flips = masks.flips(trained, theta, u)
    sent = masks.keep_top(flips, trained, theta, settings.kappa)
    payload = codec.encode(sent, context)
    decoded = codec.decode(payload, context)
    return ClientRound(
        u=u,
        mask=mask,
        theta=trained,
        flips=flips,
        kl=masks.bernoulli_kl(trained[flips], theta[flips]),
        sent=sent,
        payload=payload,
        filter=codec.filter_of(payload, context),
        decoded=decoded,
        mask_decoded=masks.apply_flips(mask, decoded),
    )


def _seed() -> int:
    return PRESETS[example().origin["preset"]].seed


def _words_of_block(noise: PublicNoise) -> Words:
    """u at the block's places in the whole vector: the words that the recorded training itself drew."""
    origin, side = example().origin, example().side
    starts = [origin["start"] + row * origin["width"] + origin["columns"][0] for row in range(*origin["rows"])]
    return np.concatenate([noise.words(start, start + side) for start in starts])


def read_settings(given: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """Settings from a link's parameters, clamped to their ranges; and a note for each value that was changed."""
    values: dict[str, Any] = asdict(Settings())
    notes: list[str] = []
    for field in fields(Settings):
        text = given.get(field.name)
        if text is None:
            continue
        default = values[field.name]
        if field.name in CHOICES:
            choice = next((choice for choice in CHOICES[field.name] if str(choice) == text), None)
            if choice is None:
                offered = ", ".join(map(str, CHOICES[field.name]))
                notes.append(f"{field.name} = {text!r} is none of {offered}: using {default}")
            values[field.name] = default if choice is None else choice
            continue
        low, high = RANGES[field.name]
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        inside = min(max(value, low), high) if value == value else float(default)
        if inside != value:
            notes.append(f"{field.name} = {text!r} is out of range ({low:g} to {high:g}): using {inside:g}")
        values[field.name] = type(default)(inside)
    if values["client"] >= values["clients"]:
        values["client"] = values["clients"] - 1
        notes.append(f"only {values['clients']} clients take part: showing client {values['client']}")
    return Settings(**values), notes
