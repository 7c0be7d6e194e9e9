"""What must hold for a head: statistics that come back, lies that are refused, and a classifier that is finite."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from deltamask.codecs import DecodeError
from deltamask.codecs.conformance import Broken
from deltamask.heads import ClosedForm, HeadKind, HeadSettings, Linear, Sender

CLASSES, FEATURES, CLIENTS = 4, 24, 6
AGREED = HeadSettings(seed=5, classes=CLASSES, features=FEATURES, projection=16)


def samples(count: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Rectified features of classes that overlap a little."""
    rng = np.random.default_rng(4)
    y = rng.integers(0, CLASSES, count)
    x = rng.normal(size=(count, FEATURES)) + 1.2 * rng.normal(size=(CLASSES, FEATURES))[y]
    return np.maximum(0, x).astype(np.float32), y


def sender_of(client: int, y: np.ndarray) -> Sender:
    """A client that has registered just these samples."""
    return Sender(client, np.bincount(y, minlength=CLASSES))


def head_of(kind: ClosedForm, x: np.ndarray, y: np.ndarray) -> Linear:
    """The head of samples that CLIENTS clients hold in turn, each heard over the wire."""

    def parts() -> Iterator[object]:
        for client in range(CLIENTS):
            own = np.arange(len(y)) % CLIENTS == client
            sender = sender_of(client, y[own])
            payload = kind.encode(kind.summarise(x[own], y[own], sender, AGREED), sender, AGREED)
            if not isinstance(payload, bytes):
                raise Broken(f"encode returned {type(payload).__name__}, not bytes")
            yield kind.decode(payload, sender, AGREED)

    return kind.solve(kind.total(parts(), AGREED), AGREED)  # type: ignore[arg-type]


def it_says_what_it_is(kind: HeadKind) -> None:
    """A label and a line about it."""
    if not kind.label.strip() or not kind.about.strip():
        raise Broken("label and about are texts for people, one of them is empty")


def statistics_come_back(kind: HeadKind) -> None:
    """Every array that is sent is read, value for value; the same samples give the same bytes."""
    if not isinstance(kind, ClosedForm):
        return
    x, y = samples()
    for count in (600, 7, 1):
        sender = sender_of(3, y[:count])
        sent = kind.summarise(x[:count], y[:count], sender, AGREED)
        payload = kind.encode(sent, sender, AGREED)
        if payload != kind.encode(kind.summarise(x[:count], y[:count], sender, AGREED), sender, AGREED):
            raise Broken(f"the same {count} samples gave other bytes")
        read = kind.decode(payload, sender, AGREED)
        for name in (field.name for field in dataclasses.fields(sent)):
            if not np.array_equal(getattr(sent, name), getattr(read, name)):
                raise Broken(f"{name} of {count} samples did not come back")


def what_is_not_its_clients_statistics_is_refused(kind: HeadKind) -> None:
    """Other counts than the registered ones, another client's message, and damaged bytes raise DecodeError."""
    if not isinstance(kind, ClosedForm):
        return
    x, y = samples(200)
    sender = sender_of(3, y)
    honest = kind.encode(kind.summarise(x, y, sender, AGREED), sender, AGREED)
    cases = {
        "other counts": (honest, Sender(3, sender.registered + np.array([5, 0, 0, 0]))),
        "another client's": (honest, Sender(4, sender.registered)),
        "empty": (b"", sender),
        "its first half": (honest[: len(honest) // 2], sender),
        "a byte behind it": (honest + b"\0", sender),
        "random bytes": (np.random.default_rng(1).bytes(len(honest)), sender),
    }
    for at in (3, len(honest) // 2, len(honest) - 1):
        cases[f"bit flipped in byte {at}"] = (honest[:at] + bytes([honest[at] ^ 0x10]) + honest[at + 1 :], sender)
    for what, (payload, whose) in cases.items():
        try:
            kind.decode(payload, whose, AGREED)
        except DecodeError:
            continue
        raise Broken(f"{what}: it was decoded")


def what_cannot_be_summed_is_named(kind: HeadKind) -> None:
    """Features that are NaN or infinite raise FloatingPointError: the round goes on without that client."""
    if not isinstance(kind, ClosedForm):
        return
    for value in (np.nan, np.inf):
        x, y = samples(50)
        x[7, 3] = value
        try:
            kind.summarise(x, y, sender_of(0, y), AGREED)
        except FloatingPointError:
            continue
        raise Broken(f"a feature of {value} was summed")


def its_head_is_finite_and_better_than_chance(kind: HeadKind) -> None:
    """On four overlapping classes; and finite on one sample, one class, a dead feature and a class that is missing."""
    if not isinstance(kind, ClosedForm):
        return
    x, y = samples()
    head = head_of(kind, x, y)
    accuracy = float(((x @ head.weight.T + head.bias).argmax(1) == y).mean())
    if head.weight.shape != (CLASSES, FEATURES) or head.bias.shape != (CLASSES,):
        raise Broken(f"weights of shape {head.weight.shape}, biases of shape {head.bias.shape}")
    if accuracy < 0.5:
        raise Broken(f"accuracy {accuracy:.2f} on its own training samples, where guessing has 0.25")
    dead = x * (np.arange(FEATURES) != 2)
    degenerate = {
        "no sample": (x[:0], y[:0]), "one sample": (x[:1], y[:1]), "one class": (x, np.full_like(y, 1)),
        "dead feature": (dead, y), "a class is missing": (x[y != 2], y[y != 2]),
    }  # fmt: skip
    for what, (few_x, few_y) in degenerate.items():
        flat = head_of(kind, few_x.astype(np.float32), few_y).flat()
        if not np.isfinite(flat).all():
            raise Broken(f"{what}: the head is not finite")


LAWS: dict[str, Callable[[HeadKind], None]] = {
    law.__name__.replace("_", " "): law
    for law in (
        it_says_what_it_is,
        statistics_come_back,
        what_is_not_its_clients_statistics_is_refused,
        what_cannot_be_summed_is_named,
        its_head_is_finite_and_better_than_chance,
    )
}
