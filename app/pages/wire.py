"""The Wire: one payload under the glass."""

from __future__ import annotations

import streamlit as st
from wire import corrupt, inspect, sections
from wire import opened as opening
from wire.opened import DecodeError, StoreError
from wire.text import plain

st.title("The wire")
st.markdown(
    "One message from one client, exactly as it crossed the network. Every byte can be asked what it is; "
    "everything shown is read out of these bytes, here and now."
)
chosen = opening.choose()
if chosen is not None:
    run, payload = chosen
    try:
        opened = opening.open_payload(run, payload)
    except (DecodeError, StoreError, OSError) as error:
        st.error(f"{payload.path.name} is refused: {plain(error)}", icon=":material/gpp_bad:")
        st.caption("A server drops such a payload, says so in the round's record, and goes on without this client.")
    else:
        sections.draw_figures(opened)
        inspect.draw(opened)
        sections.draw_shares(opened)
        if opened.flips is not None:
            sections.draw_map(opened)
            sections.draw_false_flips(opened)
            sections.draw_rivals(opened)
        corrupt.draw(opened)
