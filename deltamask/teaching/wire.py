"""Exercises of notebooks 04, 05 and 08: filters, pictures, codecs."""

from __future__ import annotations

import math

import numpy as np

from deltamask.codecs import bfuse, bfuse_build, conformance, entropy
from deltamask.codecs.base import CodecContext
from deltamask.codecs.wire import png
from deltamask.codecs.wire.message import seal
from deltamask.masking.noise import PublicNoise
from deltamask.teaching.checks import Answer, Hint, ask, exercises, not_this, same


@exercises.register("fill_filter")
def _fill_filter(answer: Answer) -> str:
    positions = np.sort(np.random.default_rng(4).choice(50_000, 300, replace=False))
    peeling = bfuse_build.peel(positions)
    got = ask(answer, peeling.slots, peeling.own, peeling.wanted & 0xFF, peeling.total)
    if np.shape(got) != (peeling.total,):
        raise Hint(f"Return one fingerprint a slot: an array of shape ({peeling.total},), not {np.shape(got)}.")
    filter = bfuse.FuseFilter(
        peeling.seed, peeling.segment_length, peeling.segment_count, np.asarray(got).astype(np.uint8)
    )
    found = bfuse.members(filter, 0, 50_000)[positions]
    if not found.all():
        raise Hint(
            f"The filter denies {int((~found).sum())} of its {len(positions)} keys. The key that was peeled last must "
            "be filled first: only then is nothing overwritten that an earlier key relies on."
            if found.any()
            else "None of the keys is found. The XOR of a key's three slots must be the fingerprint it wants."
        )
    if 0 < np.count_nonzero(got) > len(positions):
        raise Hint("More slots are filled than there are keys: each key fills its own slot and no other.")
    return "Asked through the package's own membership kernel, your filter denies none of its keys."


@exercises.register("expected_false")
def _expected_false(answer: Answer) -> str:
    got = ask(answer, 1_009_792, 10_000, 8)
    not_this(got, 10_000 / 256, "It is not the members that can be false positives, it is all the others.")
    not_this(got, 1_009_792 / 8, "A fingerprint of b bits agrees by chance once in 2^b, not once in b.")
    if abs(got - 1_009_792 / 256) < 1e-6:
        raise Hint("Nearly: positions in the set cannot be *false* positives.")
    same(
        got,
        (1_009_792 - 10_000) / 256,
        "How many positions are not members, and how often does one agree by chance?",
    )
    return "Every record of the recorded run `fashion` holds its `false_flips`: compare."


@exercises.register("bloom_bits")
def _bloom_bits(answer: Answer) -> str:
    got = ask(answer, 1_000, 1 / 256)
    not_this(got, 1_000 * 8, "That is what no filter can beat. A Bloom filter needs 44 % more.")
    same(got, 1_000 * 8 / math.log(2), "n · log₂(1/f) / ln 2.")
    same(ask(answer, 10, 0.01), 10 * math.log2(100) / math.log(2), "Right for f = 1/256, not for f = 0.01.")
    return "1/ln 2 = 1.44: the price of bits that several keys share."


@exercises.register("picture_shape")
def _picture_shape(answer: Answer) -> str:
    for count in (1, 16, 17, 56, 11_055):
        height, width = png.shape(count)
        got = ask(answer, count)
        if height != width:
            not_this(got, (width, height), f"For {count} bytes you swapped the two: (height, width).")
        same(got, (height, width), f"For {count} bytes that is not it: width ⌈√n⌉, then as many rows as are needed.")
    return "As square as it can be; at most one row is not full, and its rest must be zeros."


@exercises.register("entropy_per_flip")
def _entropy_per_flip(answer: Answer) -> str:
    wanted = entropy.entropy_iid(8_574, 1_009_792) / 8_574
    got = ask(answer, 8_574, 1_009_792)
    not_this(got, wanted * 8_574, "That is for all flips. Divide by their number.")
    not_this(got, wanted * 8_574 / 1_009_792, "That is for one position. n flips share the bits of all d.")
    not_this(got, wanted * math.log(2), "Nats, not bits: take log₂.")
    same(got, wanted, "d positions, each a flip with probability p = n/d: d · H₂(p) bits in all.")
    return "A code that knows only n and d needs at least so many bits, on average. `gap` knows more."


@exercises.register("sender")
def _sender(answer: Answer) -> str:
    for round, client in ((7, 3), (1_000, 70_000)):
        got = ask(answer, seal("rice", round, client, 512, b"\1\2\3"))
        big = tuple(int.from_bytes(part.to_bytes(4, "little"), "big") for part in (round, client))
        not_this(got, big, "The right bytes in the wrong order: the least significant byte comes first.")
        not_this(got, (client, round), "The two are swapped.")
        same(got, (round, client), "Round: bytes 4 to 7. Client: bytes 8 to 11. Both unsigned and little-endian.")
    return "A server that waits for round 7 of client 3 refuses every message that says otherwise."


@exercises.register("BitmapCodec")
def _bitmap(answer: Answer) -> str:
    codec = ask(answer)
    of = CodecContext(1, 0, np.full(64, 40_000, np.uint16), PublicNoise(0, 1, 0), (0, 64))
    ask(codec.encode, np.array([3, 5], np.int64), of)
    for name, law in conformance.LAWS.items():
        try:
            law(codec)
        except conformance.Broken as broken:
            raise Hint(f"{name}: {broken}") from broken
        except Exception as error:
            raise Hint(f"{name}: {type(error).__name__}: {error}") from error
    return "Every law holds: it could be registered today. One bit a parameter is 32 times less than FedAvg's."
