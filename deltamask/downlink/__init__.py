"""What the clients are sent of θ_g: small counts, given what they hold already. Needs no torch."""

from deltamask.downlink.messages import (
    Change,
    MaskLaw,
    ThetaMemory,
    aggregate,
    broadcast,
    decode_change,
    decode_snapshot,
    encode_change,
    encode_snapshot,
    expected,
    first,
    noise,
    receive,
)

__all__ = [
    "Change", "MaskLaw", "ThetaMemory", "aggregate", "broadcast", "decode_change", "decode_snapshot", "encode_change",
    "encode_snapshot", "expected", "first", "noise", "receive",
]  # fmt: skip
