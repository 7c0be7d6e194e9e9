"""Solutions of notebook 4."""

import math

import numpy as np


def fill_filter(slots, own, wanted, total):
    table = np.zeros(total, np.uint8)
    for three, slot, fingerprint in zip(slots[::-1], own[::-1], wanted[::-1], strict=True):
        # The own slot is still 0, so it does not count in the XOR of the three.
        table[slot] = np.bitwise_xor.reduce(table[three]) ^ np.uint8(fingerprint)
    return table


def expected_false(d, n, bits):
    return (d - n) / 2**bits


def bloom_bits(n, f):
    return n * math.log2(1 / f) / math.log(2)
