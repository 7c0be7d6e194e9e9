"""Update codecs: dense vectors of floats to bytes and back. `updates` is the registry; importing this fills it."""

from deltamask.codecs.updates import drive, eden, floats, qsgd, signsgd
from deltamask.codecs.updates.base import LARGEST, SERVER, DecodeError, UpdateCodec, UpdateContext, updates

get, names = updates.get, updates.names

__all__ = [
    "LARGEST",
    "SERVER",
    "DecodeError",
    "UpdateCodec",
    "UpdateContext",
    "drive",
    "eden",
    "floats",
    "get",
    "names",
    "qsgd",
    "signsgd",
    "updates",
]
