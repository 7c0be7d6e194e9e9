"""Solutions of notebook 1."""


def fedavg_bytes(parameters, clients, rounds):
    return 2 * 4 * parameters * clients * rounds  # down and up, four bytes each


def bpp(payload_bytes, d):
    return 8 * sum(payload_bytes) / len(payload_bytes) / d


def rounds_within(budget, head_bytes, payload_bytes):
    return max(0, (budget - head_bytes) // payload_bytes)
