"""Codecs: flips to bytes and back. `codecs` is the registry; importing this package fills it."""

from deltamask.base.registry import import_all
from deltamask.codecs.base import Codec, CodecContext, codecs
from deltamask.codecs.wire.message import DecodeError

import_all(__name__, __path__)
get, names = codecs.get, codecs.names

__all__ = ["Codec", "CodecContext", "DecodeError", "codecs", "get", "names"]
