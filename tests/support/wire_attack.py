"""Throws hostile bytes at every decoder and prints what happened as JSON. Run as a process of its own by the tests, so
that a crash of compiled code is seen, under a limit on memory, so that a large allocation is.

    python -m tests.support.wire_attack bytes|fields|truncations|pictures|forged
"""

from __future__ import annotations

import json
import resource
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import product

import numpy as np

from deltamask.codecs import DecodeError, codecs
from deltamask.codecs.updates import updates
from deltamask.codecs.wire import png
from deltamask.codecs.wire.message import HEADER_BYTES
from tests.support.wire_cases import (
    D,
    decoders,
    every_byte_change,
    every_field_change,
    every_truncation,
    golden_payloads,
    is_picture,
    message_of,
    true_length,
    wrap,
)

SPARE = 256 << 20  # bytes of address space that decoding may take beyond what the loaded process has
PLAIN = ("fp32", "fp16")  # a kilobyte or two of values, with no field but the header's
SLOW = 5.0  # seconds: no payload of a few hundred bytes may keep a decoder busy for longer


def limit_memory() -> None:
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + SPARE, used + SPARE))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def lying_pictures(payload: bytes) -> Iterator[bytes]:
    """PNGs that are valid somewhere else, or pretend to be."""
    head, rest = payload[:8], payload[8:]
    width, height = struct.unpack_from(">II", rest, 8)
    header, data, end = rest[:25], rest[25:-12], rest[-12:]
    rows = zlib.decompress(data[8:-4])

    def ihdr(w: int = width, h: int = height, mode: tuple[int, ...] = (8, 0, 0, 0, 0)) -> bytes:
        return chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, *mode))

    for depth, colour, interlace in product((1, 2, 4, 8, 16), (0, 2, 3, 4, 6), (0, 1)):
        if (depth, colour, interlace) != (8, 0, 0):
            yield head + ihdr(mode=(depth, colour, 0, 0, interlace)) + data + end
    sizes = (0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1)
    for w, h in product(sizes, sizes):
        yield head + ihdr(w, h) + data + end
    yield payload + b"trailing"
    yield payload + payload
    yield head + header + chunk(b"IDAT", data[8:-4] + b"trailing") + end
    yield head + header + chunk(b"IDAT", zlib.compress(rows + b"\0")) + end
    yield head + header + chunk(b"IDAT", zlib.compress(rows[:-1])) + end
    yield head + header + chunk(b"IDAT", zlib.compress(bytes(100 << 20))) + end  # inflates to 100 MB
    yield head + header + data[:12] + data[12:] + data + end  # IDAT twice
    yield head + header + chunk(b"acTL", struct.pack(">II", 1000, 0)) + data + end  # animated
    yield head + header + chunk(b"fcTL", bytes(26)) + data + chunk(b"fdAT", bytes(4) + data[8:-4]) + end
    bomb = zlib.compress(bytes(100 << 20))
    for kind in (b"zTXt", b"iTXt", b"tEXt", b"iCCP", b"eXIf"):
        yield head + header + chunk(kind, b"a\0\0" + bomb) + data + end
    yield head + header + b"\xff\xff\xff\xffIDAT" + data[8:] + end  # a chunk of 4 GB
    yield head + header + end
    yield head + data + header + end
    filtered = b"".join(b"\4" + rows[at + 1 : at + 1 + width] for at in range(0, len(rows), width + 1))
    yield head + header + chunk(b"IDAT", zlib.compress(filtered)) + end
    yield head


EXTREME = {
    "B": (0, 1, 31, 32, 33, 40, 41, 63, 64, 255),
    "H": (0, 1, 2, 255, 1 << 15, (1 << 16) - 1),
    "I": (0, 1, 2, 3, 7, 8, 127, 128, 1 << 16, 1 << 18, (1 << 18) + 1, 1 << 19, 1 << 31, (1 << 32) - 2, (1 << 32) - 1),
    "Q": (0, 1, 100, D, D + 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 61, 1 << 63, (1 << 64) - 1),
}
FIELDS = {
    "bfuse": "<QII", "xor": "<QI", "bloom": "<IBI", "rice": "<QB", "gap": "<HH", "counts": "<I", "theta": "<I",
    "head-": "<BH",
}  # fmt: skip


def forged_headers(payload: bytes, name: str) -> Iterator[bytes]:
    """All combinations of extreme values in a body's fields, over bodies of several lengths, checksums right."""
    message = message_of(payload)[: true_length(payload, name)]
    layout = next((text for prefix, text in FIELDS.items() if name.startswith(prefix)), "")
    if name.endswith("-gated"):
        layout = "<H" + layout[1:]
    if layout:
        size = struct.calcsize(layout)
        values_of = [EXTREME[code][:: 3 if name.endswith("-gated") else 1] for code in layout[1:]]
        for values in product(*values_of):
            fields = struct.pack(layout, *values)
            for rest in (message[HEADER_BYTES + size :], b"", bytes(64), b"\xff" * 64):
                yield wrap(message[:HEADER_BYTES] + fields + rest, payload)
    for at, code in ((4, "I"), (8, "I"), (12, "Q")):  # round, client and d of the message's own header
        for value in EXTREME[code]:
            forged = bytearray(message)
            struct.pack_into("<" + code, forged, at, value)
            yield wrap(bytes(forged), payload)


def cases(what: str, payload: bytes, name: str) -> Iterable[bytes]:
    match what:
        case "bytes":
            return every_byte_change(payload) if name not in PLAIN else ()
        case "fields":
            return every_field_change(payload, name) if name not in PLAIN else ()
        case "truncations":
            return every_truncation(payload, name)
        case "pictures":
            return lying_pictures(payload) if is_picture(payload) else ()
        case "forged":
            return forged_headers(payload, name)
    raise ValueError(what)


def main(what: str) -> None:
    payloads, table = golden_payloads(), decoders()
    for name, payload in payloads.items():
        table[name][2](payload)  # compiles, before memory is limited
    png.write(bytes(100))
    limit_memory()
    report: dict[str, dict[str, object]] = {}
    for name, payload in payloads.items():
        decode, seen, slowest = table[name][2], Counter[str](), 0.0
        for case in cases(what, payload, name):
            start = time.perf_counter()
            try:
                values = np.asarray(decode(case))
                seen["accepted"] += 1
                if name in codecs and len(values) and (values[0] < 0 or values[-1] >= D or (np.diff(values) < 1).any()):
                    seen["positions that are not sorted, unique and in [0, d)"] += 1
                if name in updates and not np.isfinite(values).all():
                    seen["values that are NaN or infinite"] += 1
            except DecodeError:
                seen["refused"] += 1
            except BaseException as error:
                seen[f"{type(error).__name__}: {error}"[:200]] += 1
            slowest = max(slowest, time.perf_counter() - start)
        report[name] = {"seen": dict(seen), "slowest": slowest}
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1])
