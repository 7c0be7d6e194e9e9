"""The audit of the private head's one release, over the wire: what `leaks.py` records and tests repeat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from deltamask.heads import HeadSettings, Sender, heads
from deltamask.heads.base import ClosedForm
from deltamask.privacy.accountant import Steps, noise_for
from deltamask.privacy.audit import Audit, audit

CLIENTS, CLASSES, FEATURES = 3, 100, 400
CANARIES = CLASSES * FEATURES  # of each client
GUESSES, DELTA = 1000, 1e-6
PROVEN = 1.0


def agreed(factor: float = 1.0) -> HeadSettings:
    """Settings whose noise is `factor` of what PROVEN takes."""
    noise = noise_for(PROVEN, DELTA, Steps(0.0, 1.0, 1))
    settings = HeadSettings(seed=3, classes=CLASSES, features=FEATURES, noise=noise)
    return replace(settings, noise=factor * settings.noise)


def released(run: int, client: int, included: npt.NDArray[np.bool_], settings: HeadSettings) -> npt.NDArray[np.float64]:
    """What a client sends whose features have one value each, of a place and a class of its own."""
    place = np.flatnonzero(included)
    x, y = np.zeros((len(place), FEATURES), np.float32), place // FEATURES
    x[np.arange(len(place)), place % FEATURES] = 5.0
    kind = heads["unit-means"]
    assert isinstance(kind, ClosedForm)
    sender = Sender(CLIENTS * run + client, np.bincount(y, minlength=CLASSES))
    payload = kind.encode(kind.summarise(x, y, sender, settings), sender, settings)
    return kind.decode(payload, sender, settings).sums.ravel().astype(np.float64)


def of_the_head(run: int, settings: HeadSettings) -> Audit:
    """One audit: every canary in or out by a coin of its own."""
    included = np.random.default_rng(run).random((CLIENTS, CANARIES)) < 0.5
    scores = [released(run, client, coins, settings) for client, coins in enumerate(included)]
    return audit(np.concatenate(scores), included.ravel(), GUESSES, DELTA)
