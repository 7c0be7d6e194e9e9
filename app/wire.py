"""The Wire: one payload under the glass."""

from __future__ import annotations

import streamlit as st
import wire_break
import wire_inspect
import wire_open
import wire_sections
from wire_open import DecodeError, StoreError
from wire_text import plain

st.title("The wire")
st.markdown(
    "One message from one client, exactly as it crossed the network. Every byte can be asked what it is; "
    "everything shown is read out of these bytes, here and now."
)
chosen = wire_open.choose()
if chosen is not None:
    run, payload = chosen
    try:
        opened = wire_open.open_payload(run, payload)
    except (DecodeError, StoreError, OSError) as error:
        st.error(f"{payload.path.name} is refused: {plain(error)}", icon=":material/gpp_bad:")
        st.caption("A server drops such a payload, says so in the round's record, and goes on without this client.")
    else:
        wire_sections.draw_figures(opened)
        wire_inspect.draw(opened)
        wire_sections.draw_shares(opened)
        if opened.flips is not None:
            wire_sections.draw_map(opened)
            wire_sections.draw_false_flips(opened)
            wire_sections.draw_rivals(opened)
        wire_break.draw(opened)
