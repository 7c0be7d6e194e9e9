"""Codecs: flips to bytes and back. `codecs` is the registry; importing this package fills it."""

from deltamask.codecs import bfuse, bfuse_gated, bloom, gap, mask, rice, xor
from deltamask.codecs.base import Codec, CodecContext, codecs
from deltamask.codecs.wire.message import DecodeError

get, names = codecs.get, codecs.names

__all__ = [
    "Codec",
    "CodecContext",
    "DecodeError",
    "bfuse",
    "bfuse_gated",
    "bloom",
    "codecs",
    "gap",
    "get",
    "mask",
    "names",
    "rice",
    "xor",
]
