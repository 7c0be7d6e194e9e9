"""Solutions of notebook 5."""

import math
import struct


def picture_shape(count):
    width = math.ceil(math.sqrt(count))
    return math.ceil(count / width), width


def entropy_per_flip(n, d):
    p = n / d
    return d * (-p * math.log2(p) - (1 - p) * math.log2(1 - p)) / n


def sender(message):
    return struct.unpack_from("<II", message, 4)
