"""Text that is not ours: names of runs and layers, words of a link, messages about somebody's file."""

from __future__ import annotations

ESCAPED = str.maketrans({letter: f"\\{letter}" for letter in "\\`*_{}[]()#+-.!|<>$~:&"})


def plain(text: object) -> str:
    """For where Markdown is read: shown as it is, whatever it holds."""
    return str(text).translate(ESCAPED)
