"""One round for the whole page: a slider, and a button that plays through the rounds. Both move in the browser."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from ui import links

FOLDER = Path(__file__).parent
KEY = "scrubber"
ABOUT = "Drives every panel of this page. Arrow keys work. Round 0 is the head's."
HTML = f"""<div class="scrubber"><button type="button" title="Plays through the rounds: charts and pictures go along.">
</button><label title="{ABOUT}">Round <output></output><input type="range" min="0" step="1" aria-label="Round"></label>
</div>"""

_component = st.components.v2.component(
    "scrubber", html=HTML, css=(FOLDER / "scrubber.css").read_text(), js=(FOLDER / "scrubber.js").read_text()
)


def draw(key: str, last: int, opening: int) -> int:
    """The slider from 0 to `last`. While it stands at its end, it follows a run under way.

    key: what is shown (a run, or a set of them). opening: where the slider stands until it is moved: the last round of
    a run under way, the middle of a finished one, whose last messages are all but empty when its step size falls to 0.
    """
    if last == 0:
        links.write(round=None)
        return 0
    _settle(key, last, opening)
    state = st.session_state
    data = {"round": state.round, "last": last, "untouched": state.untouched}
    _component(data=data, key=KEY, on_round_change=_moved)
    round = int(state.round)
    links.write(round=None if round == opening else round)
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
    st.session_state.round = min(st.session_state.round, last)
    st.session_state.round_of = (key, last)


def _moved() -> None:
    """The browser says where it was moved to; a browser may say anything."""
    value = getattr(st.session_state.get(KEY), "round", None)
    if isinstance(value, int | float) and value == value:
        _, last = st.session_state.round_of
        st.session_state.round, st.session_state.untouched = int(min(max(value, 0), last)), False
