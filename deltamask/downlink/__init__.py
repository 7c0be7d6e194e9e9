"""What the clients are sent of θ_g: small counts, given what they hold already. Needs no torch."""

from deltamask.downlink.messages import (
    METHODS,
    Change,
    Memory,
    broadcast,
    decode_change,
    decode_snapshot,
    encode_change,
    encode_snapshot,
    expected,
    first,
    fold,
    has_public_masks,
    noise,
    receive,
)

__all__ = [
    "METHODS", "Change", "Memory", "broadcast", "decode_change", "decode_snapshot", "encode_change", "encode_snapshot",
    "expected", "first", "fold", "has_public_masks", "noise", "receive",
]  # fmt: skip
