"""The page's state in its address, so that a link opens the same view. A value out of range is clamped, with a note.

A page reads the address once, when it is opened, and writes it whenever something has changed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import streamlit as st


def note(text: str) -> None:
    """Say once, on top of the page, what was done with a value of the link."""
    notes = st.session_state.setdefault("link_notes", [])
    if text not in notes:
        notes.append(text)


def draw_notes() -> None:
    for text in st.session_state.get("link_notes", ()):
        st.info(f"From the link: {text}", icon=":material/link:")


def choice(name: str, options: Sequence[str], default: str) -> str:
    """Put the address's value of a choice into the session, if it has none yet."""
    if name not in st.session_state:
        asked = st.query_params.get(name, default)
        if asked not in options:
            note(f"{name} = {asked!r} is none of {', '.join(options)}: using {default}")
            asked = default
        st.session_state[name] = asked
    return str(st.session_state[name])


def whole(name: str, low: int, high: int) -> int | None:
    """The address's whole number, clamped; None where it has none."""
    text = st.query_params.get(name)
    if text is None:
        return None
    try:
        number = int(text)
    except ValueError:
        note(f"{name} = {text!r} is no whole number, ignored")
        return None
    if not low <= number <= high:
        note(f"{name} = {text!r} is out of range ({low} ≤ {name} ≤ {high}): using {min(max(number, low), high)}")
    return min(max(number, low), high)


def names(name: str, existing: Collection[str]) -> list[str] | None:
    """The address's list of runs, without those that do not exist; None where it has no list."""
    text = st.query_params.get(name)
    if text is None:
        return None
    asked = split(text)
    missing = [word for word in asked if word not in existing]
    if missing:
        note(f"{name}: there is no run {', '.join(repr(word[:80]) for word in missing)} here")
    return [word for word in asked if word in existing]


def joined(names: Sequence[str]) -> str:
    """Runs' names as one text, in which commas part them; a comma of a name is written `\\,`, a backslash `\\\\`."""
    return ",".join(name.replace("\\", "\\\\").replace(",", "\\,") for name in names)


def split(text: str) -> list[str]:
    """The names in what `joined` made."""
    parts = re.findall(r"((?:[^,\\]|\\.|\\$)+)", text, re.DOTALL)
    return [re.sub(r"\\(.)", r"\1", part, flags=re.DOTALL) for part in parts]


def write(**values: object) -> None:
    """Put values into the address; None takes one out."""
    for name, value in values.items():
        if value is None:
            st.query_params.pop(name, None)
        elif st.query_params.get(name) != str(value):
            st.query_params[name] = str(value)
