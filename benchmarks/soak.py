"""Mutated payloads at every decoder.

    PYTHONPATH=. python benchmarks/soak.py --count 1000000              # what clients send
    PYTHONPATH=. python benchmarks/soak.py --way down --count 100000    # what the server sends

Each block of cases is made from (seed, block) alone, so a failure can be had again with --block. Blocks run in
processes of their own: a segmentation fault ends one, and is counted. Anything but values or DecodeError is a failure.
With --log FILE finished blocks are kept there, a line each, and a soak that is started again goes on after them.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from deltamask import downlink
from deltamask.codecs import CodecContext, DecodeError, codecs
from deltamask.codecs.conformance import realistic_flips
from deltamask.codecs.wire.message import HEADER_BYTES
from deltamask.downlink import Change
from tests.support.wire_cases import (
    DOWN,
    LAW,
    ROUND,
    decoders,
    golden_memory,
    golden_payloads,
    message_of,
    true_length,
    wrap,
)
from tests.support.wire_cases import D as GOLDEN_D

D, BLOCK = 2_000, 50_000
DOWNLINK = ("counts", "theta", "dense32", "fp32", "fp16", "head-ask")  # dense32 and floats go both ways
Pool = dict[str, list[tuple[bytes, bytes]]]  # kind → (payload, its message without padding)
Decoders = dict[str, Callable[[bytes], object]]


def pool(of: CodecContext, flips: np.ndarray, rng: random.Random) -> Pool:
    """Valid payloads of each codec: real-looking flips, none, one, a few and all."""
    sets = [flips, flips[:0], flips[:1], flips[:5], np.arange(D), np.array(sorted(rng.sample(range(D), 200)))]
    payloads = {name: [codecs[name].encode(positions, of) for positions in sets] for name in codecs}
    return {name: [(p, message_of(p)[: true_length(p, name)]) for p in some] for name, some in payloads.items()}


def uplink(rng: random.Random) -> tuple[Pool, Decoders]:
    """Flips in every codec, and one payload of every other kind that a client sends."""
    flips, of = realistic_flips(D, 0.5, rng.getrandbits(31))
    others, table = golden(name for name in decoders() if name not in codecs and name not in DOWNLINK[:2])
    reads: Decoders = {name: (lambda payload, name=name: codecs[name].decode(payload, of)) for name in codecs}  # type: ignore[misc]
    return pool(of, flips, rng) | others, reads | table


def to_clients(rng: random.Random) -> tuple[Pool, Decoders]:
    """What the server sends: changes of several sizes, θ_g, heads and weights."""
    payloads, table = golden(DOWNLINK)
    draw = np.random.default_rng(rng.getrandbits(31))
    for share in (0.0, 0.01, 0.3, 1.0):
        values = np.where(draw.random(GOLDEN_D) < share, draw.integers(-3, 4, GOLDEN_D), 0).astype(np.int32)
        change = Change(values, np.array([0, 2, 3], np.uint32))
        payload = downlink.encode_change(LAW, DOWN, golden_memory(), ROUND, change)
        payloads["counts"].append((payload, payload))
    return payloads, table


def golden(names: Iterable[str]) -> tuple[Pool, Decoders]:
    """The golden payload of each of these kinds, and what reads it."""
    table, files = decoders(), golden_payloads()
    found = {name: [(files[name], message_of(files[name])[: true_length(files[name], name)])] for name in names}
    return found, {name: table[name][2] for name in found}


WAYS = {"up": uplink, "down": to_clients}


def scramble(data: bytearray, rng: random.Random, other: bytes) -> bytearray:
    """One random change."""
    at = rng.randrange(len(data)) if data else 0
    match rng.randrange(8):
        case 0 if data:
            data[at] ^= 1 << rng.randrange(8)
        case 1 if data:
            data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        case 2:
            del data[at:]
        case 3:
            del data[at : at + rng.randrange(1, 9)]
        case 4:
            data[at:at] = rng.randbytes(rng.randrange(1, 9))
        case 5:
            start = rng.randrange(len(other))
            data[at:at] = other[start : start + rng.randrange(1, 40)]
        case 6:
            width = rng.choice((1, 2, 4, 8))
            value = rng.choice((0, 1, 1 << 18, (1 << 31), (1 << 32) - 1, (1 << 63), (1 << 64) - 1, rng.getrandbits(64)))
            data[at : at + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, "little")
        case 7:
            data[at : at + 8] = rng.randbytes(min(8, len(data) - at))
    return data


def mutated(rng: random.Random, name: str, payloads: Pool) -> bytes:
    """A payload with changes outside, or inside with the checksums made right again (two times out of three)."""
    payload, message = rng.choice(payloads[name])
    other = rng.choice(payloads[rng.choice(list(payloads))])[1]
    changes = rng.choice((1, 1, 2, 4, 16))
    if rng.randrange(3) == 0:
        data = bytearray(payload)
        for _ in range(changes):
            data = scramble(data, rng, other)
        return bytes(data)
    body = bytearray(message[HEADER_BYTES:])
    for _ in range(changes):
        body = scramble(body, rng, other)
    return wrap(message[:HEADER_BYTES] + bytes(body), payload)


def run_block(way: str, seed: int, block: int, count: int) -> dict[str, Any]:
    """Tries `count` cases and says what happened."""
    faulthandler.enable()
    rng = random.Random(f"{seed}/{block}" if way == "up" else f"{way}/{seed}/{block}")
    payloads, reads = WAYS[way](rng)
    seen, failures, slowest = Counter[str](), [], 0.0
    names = list(reads)
    for index in range(count):
        name = names[index % len(names)]
        case = mutated(rng, name, payloads)
        start = time.perf_counter()
        try:
            reads[name](case)
            seen["accepted"] += 1
        except DecodeError:
            seen["refused"] += 1
        except BaseException as error:
            seen["other"] += 1
            failures.append(
                {"kind": name, "error": f"{type(error).__name__}: {error}"[:200], "payload": case.hex()[:4000]}
            )
        slowest = max(slowest, time.perf_counter() - start)
    cpu = time.process_time()
    return {"block": block, "count": count, "seen": dict(seen), "failures": failures[:20],
            "slowest_s": round(slowest, 3), "cpu_s": round(cpu, 1)}  # fmt: skip


def in_a_process(way: str, seed: int, block: int, count: int) -> dict[str, Any]:
    """A block in a process of its own; one that dies is a failure."""
    options = (f"--way={way}", f"--seed={seed}", f"--block={block}", f"--count={count}")
    done = subprocess.run([sys.executable, __file__, *options], capture_output=True, text=True)
    if done.returncode == 0:
        report: dict[str, Any] = json.loads(done.stdout)
        return report
    died = {"error": f"exit {done.returncode}", "stderr": done.stderr[-2000:]}
    return {"block": block, "count": count, "seen": {"crashed": 1}, "failures": [died], "slowest_s": 0.0, "cpu_s": 0.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--way", choices=list(WAYS), default="up", help="payloads of clients, or of the server")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--block", type=int, default=None, help="run this block alone, in this process")
    parser.add_argument("--log", type=Path, default=None, help="keep finished blocks here, and go on after them")
    options = parser.parse_args()
    if options.block is not None:
        print(json.dumps(run_block(options.way, options.seed, options.block, options.count)))
        return
    lines = options.log.read_text().splitlines() if options.log and options.log.exists() else []
    reports: dict[int, dict[str, Any]] = {report["block"]: report for report in map(json.loads, lines)}
    for block in range(-(-options.count // BLOCK)):
        count = min(BLOCK, options.count - block * BLOCK)
        if block not in reports or reports[block]["count"] != count:
            reports[block] = in_a_process(options.way, options.seed, block, count)
            if options.log:
                with open(options.log, "a") as file:
                    file.write(json.dumps(reports[block]) + "\n")
        done, seen = sum(report["count"] for report in reports.values()), summed(reports.values())
        print(f"{done:>9,} of {options.count:,} cases · {dict(seen)}", file=sys.stderr, flush=True)
    seen, failures = summed(reports.values()), [failure for each in reports.values() for failure in each["failures"]]
    whole = {"way": options.way, "seed": options.seed, "count": sum(seen.values()), **seen, "failures": failures}
    slowest, cpu = max(each["slowest_s"] for each in reports.values()), sum(each["cpu_s"] for each in reports.values())
    print(json.dumps({**whole, "slowest_s": slowest, "cpu_s": round(cpu)}))
    sys.exit(bool(failures or seen["other"] or seen["crashed"]))


def summed(reports: Iterable[dict[str, Any]]) -> Counter[str]:
    """What was seen over all blocks."""
    return sum((Counter(report["seen"]) for report in reports), Counter[str]())


if __name__ == "__main__":
    main()
