"""Names of files as bytes, and as text that can be shown anywhere.

A file system holds names that are no text (a Latin-1 `é` on Linux) and names with line breaks. Python keeps the former
as lone surrogates, which neither a terminal nor a UTF-8 file takes.
"""

from __future__ import annotations

import os
from pathlib import PurePath

LONE = "surrogatepass" if os.name == "nt" else "surrogateescape"  # how Python spells what is no text


def raw(name: str) -> bytes:
    """The name as bytes, the same on every machine. Any name of a file has some."""
    return name.encode("utf-8", LONE)


def shown(name: str | PurePath) -> str:
    """The name with whatever cannot be printed escaped: `caf\\xe9.jpg`."""
    text = raw(str(name)).decode("utf-8", "backslashreplace")
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )
