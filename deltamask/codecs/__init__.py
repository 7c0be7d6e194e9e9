"""Codecs: flips to bytes and back. `codecs` is the registry; importing this package fills it."""

from deltamask.codecs import arithmetic, bloom, fuse, gap, gated, rice, xor
from deltamask.codecs.base import Codec, CodecContext, DecodeError, codecs

get, names = codecs.get, codecs.names

__all__ = [
    "Codec",
    "CodecContext",
    "DecodeError",
    "arithmetic",
    "bloom",
    "codecs",
    "fuse",
    "gap",
    "gated",
    "get",
    "names",
    "rice",
    "xor",
]
