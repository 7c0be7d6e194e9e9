"""One round for the whole page: a slider, and a button that plays through the rounds."""

from __future__ import annotations

import time

import streamlit as st
from ui import links

TICK = 0.5  # seconds a round is shown while playing


def is_playing() -> bool:
    return bool(st.session_state.get("playing"))


def draw(key: str, last: int, opening: int) -> int:
    """The slider from 0 to `last`. While it stands at its end, it follows a run under way.

    key: what is shown (a run, or a set of them). opening: where the slider stands until it is moved: the last round of
    a run under way, the middle of a finished one, whose last messages are all but empty when its step size falls to 0.
    """
    if last == 0:
        links.write(round=None)
        return 0
    _settle(key, last, opening)
    if is_playing():
        _advance(last)
    button, slider = st.columns([2, 9], vertical_alignment="bottom")
    playing = is_playing()
    button.button(
        "Pause" if playing else "Play", icon=f":material/{'pause' if playing else 'play_arrow'}:", key="play",
        type="primary" if not playing else "secondary", width="stretch", on_click=_toggle, args=(last,),
        help="Plays through the recorded rounds: every chart and picture goes along.",
    )  # fmt: skip
    about = "Drives every panel of this page. Arrow keys work. Round 0 is linear probing."
    round = int(slider.slider("Round", 0, last, key="round", on_change=_touched, help=about))
    links.write(round=None if round == opening else round)
    if st.session_state.pop("play_turned", False):
        st.rerun()  # the beat of the page changes with it
    return round


def _settle(key: str, last: int, opening: int) -> None:
    """Where the slider stands, before it is drawn."""
    seen_key, seen_last = st.session_state.get("round_of", (None, None))
    if seen_key is None:
        asked = links.whole("round", 0, last)
        st.session_state.round, st.session_state.untouched = opening if asked is None else asked, asked is None
    elif "round" not in st.session_state:  # the visitor comes from another page
        st.session_state.round, st.session_state.untouched = opening, True
    elif seen_key == key:
        st.session_state.round = last if st.session_state.round >= seen_last else st.session_state.round
    elif st.session_state.untouched or st.session_state.round >= seen_last:  # another run's end says nothing here
        st.session_state.round, st.session_state.untouched = opening, True
    if seen_key != key:
        st.session_state.playing = False
    st.session_state.round = min(st.session_state.round, last)
    st.session_state.round_of = (key, last)


def _touched() -> None:
    st.session_state.untouched = False


def _toggle(last: int) -> None:
    if not is_playing() and (st.session_state.untouched or st.session_state.round >= last):
        st.session_state.round = 0
    _touched()
    st.session_state.playing = not is_playing()
    st.session_state.play_turned = True
    st.session_state.played_at = time.monotonic()


def _advance(last: int) -> None:
    """One round further, unless this is a redraw between two beats."""
    now = time.monotonic()
    if now - st.session_state.get("played_at", 0.0) < 0.7 * TICK:
        return
    st.session_state.played_at = now
    st.session_state.round = min(last, st.session_state.round + 1)
    if st.session_state.round == last:
        st.session_state.playing, st.session_state.play_turned = False, True
