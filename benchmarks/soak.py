"""Mutated payloads at every decoder: `python -m benchmarks.soak --count 1000000 --seed 1`.

Each block of cases is made from (seed, block) alone, so a failure can be had again with --block. Blocks run in
processes of their own: a segmentation fault ends one, and is counted. Anything but flips or DecodeError is a failure.
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

import numpy as np

from deltamask.codecs import CodecContext, DecodeError, codecs
from deltamask.codecs.conformance import realistic_flips
from deltamask.codecs.wire.message import HEADER_BYTES
from tests.support.wire_cases import message_of, true_length, wrap

D, BLOCK = 2_000, 50_000
Pool = dict[str, list[tuple[bytes, bytes]]]  # codec → (payload, its message without padding)


def pool(of: CodecContext, flips: np.ndarray, rng: random.Random) -> Pool:
    """Valid payloads of each codec: real-looking flips, none, one, a few and all."""
    sets = [flips, flips[:0], flips[:1], flips[:5], np.arange(D), np.array(sorted(rng.sample(range(D), 200)))]
    payloads = {name: [codecs[name].encode(positions, of) for positions in sets] for name in codecs}
    return {name: [(p, message_of(p)[: true_length(p, name)]) for p in some] for name, some in payloads.items()}


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


def run_block(seed: int, block: int, count: int) -> dict[str, object]:
    """Tries `count` cases and says what happened."""
    faulthandler.enable()
    rng = random.Random(f"{seed}/{block}")
    flips, of = realistic_flips(D, 0.5, rng.getrandbits(31))
    payloads, seen, failures, slowest = pool(of, flips, rng), Counter[str](), [], 0.0
    names = list(codecs)
    for index in range(count):
        name = names[index % len(names)]
        case = mutated(rng, name, payloads)
        start = time.perf_counter()
        try:
            codecs[name].decode(case, of)
            seen["accepted"] += 1
        except DecodeError:
            seen["refused"] += 1
        except BaseException as error:
            seen["other"] += 1
            failures.append(
                {"codec": name, "error": f"{type(error).__name__}: {error}"[:200], "payload": case.hex()[:4000]}
            )
        slowest = max(slowest, time.perf_counter() - start)
    return {"seen": dict(seen), "failures": failures[:20], "slowest_s": round(slowest, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--block", type=int, default=None, help="run this block alone, in this process")
    options = parser.parse_args()
    if options.block is not None:
        print(json.dumps(run_block(options.seed, options.block, options.count)))
        return
    total, crashes, slowest, failures = Counter[str](), [], 0.0, []
    start = time.perf_counter()
    for block in range(-(-options.count // BLOCK)):
        count = min(BLOCK, options.count - block * BLOCK)
        command = [
            sys.executable,
            "-m",
            "benchmarks.soak",
            f"--seed={options.seed}",
            f"--block={block}",
            f"--count={count}",
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            crashes.append({"block": block, "exit": done.returncode, "stderr": done.stderr[-2000:]})
            continue
        report = json.loads(done.stdout)
        total.update(report["seen"])
        failures += report["failures"]
        slowest = max(slowest, report["slowest_s"])
        print(f"{sum(total.values()):>9,} cases · {dict(total)} · {len(crashes)} crashes", file=sys.stderr, flush=True)
    print(
        json.dumps(
            {
                "seed": options.seed,
                "count": sum(total.values()),
                **total,
                "crashes": crashes,
                "failures": failures,
                "slowest_s": slowest,
                "seconds": round(time.perf_counter() - start),
            }
        )
    )
    sys.exit(bool(crashes or failures or total["other"]))


if __name__ == "__main__":
    main()
