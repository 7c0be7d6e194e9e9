"""Update codecs: dense vectors of floats to bytes and back. `updates` is the registry; importing this fills it."""

from deltamask.base.registry import import_all
from deltamask.codecs.updates.base import LARGEST, SERVER, DecodeError, UpdateCodec, UpdateContext, updates

import_all(__name__, __path__)
get, names = updates.get, updates.names

__all__ = ["LARGEST", "SERVER", "DecodeError", "UpdateCodec", "UpdateContext", "get", "names", "updates"]
