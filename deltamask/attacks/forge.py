"""Payloads of a liar's choice, in the form that its method's honest ones have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np

from deltamask.attacks.base import Liar, kind_of
from deltamask.codecs import codecs
from deltamask.codecs.updates import UpdateContext, updates
from deltamask.codecs.wire import dense, png
from deltamask.codecs.wire.dense import Vector
from deltamask.codecs.wire.message import HEADER, KINDS, seal
from deltamask.heads import Sender, Statistics, agreed, closed_form
from deltamask.masking.masks import Mask, Positions, sample
from deltamask.methods.base import Upload
from deltamask.methods.deltamask import context
from deltamask.methods.fedpm import mask_codec


def with_flips(upload: Upload, liar: Liar, choose: Callable[[Mask, Liar], Positions]) -> Upload:
    """Flips of the liar's choice, given m_g; or the whole mask with these positions flipped."""
    theta = liar.memory.theta
    known = context(liar.config, theta, liar.task.tail.offsets, liar.round, liar.client)
    if kind_of(liar) == "flips":
        assert liar.method.flip_codec is not None
        flips = choose(sample(theta, known.noise.words(0, len(theta))), liar)
        payload = codecs[liar.method.flip_codec(liar.config)].encode(flips, known)
        return replace(upload, payload=payload, report=replace(upload.report, sent=flips, flips=len(flips)))
    codec = mask_codec(liar.config)
    mask = codec.unseal(upload.payload, known).copy()
    mask[choose(mask, liar)] ^= True
    return replace(upload, payload=codec.seal(mask, known))


def with_values(upload: Upload, liar: Liar, change: Callable[[Vector], Vector]) -> Upload:
    """The vector in the payload, changed: a head, or an update. What encoders refuse is written all the same."""
    round, client, payload = liar.round, liar.client, upload.payload
    if payload.startswith(png.SIGNATURE):
        size = liar.task.head_size
        values = change(dense.decode_dense32(payload, size, round, client)).astype("<f4")
        return replace(upload, payload=png.write(seal("dense32", round, client, size, values.tobytes())))
    _, _, number, _, _, n, _ = HEADER.unpack_from(payload)
    name = next(name for name, kind in KINDS.items() if kind.number == number)
    codec, at = updates[name], UpdateContext(liar.config.seed, round, client)
    values = change(codec.decode(payload, n, at)).astype(np.float32)
    write = getattr(codec, "body", None)
    if write is None:
        return replace(upload, payload=codec.encode(values, at))
    with np.errstate(over="ignore", invalid="ignore"):
        return replace(upload, payload=seal(name, round, client, n, cast(Any, write)(values, at)))


def with_statistics(upload: Upload, liar: Liar, change: Callable[[Statistics], Statistics]) -> Upload:
    """The statistics in the payload, changed."""
    formula = closed_form(liar.config.head_init)
    assert formula is not None
    settings = agreed(liar.config, len(liar.task.classes), liar.task.num_features)
    held = Sender(liar.client, liar.task.label_counts[liar.client])
    lie = change(formula.decode(upload.payload, held, settings))
    return replace(upload, payload=formula.encode(lie, Sender(liar.client, liar.registered), settings))
