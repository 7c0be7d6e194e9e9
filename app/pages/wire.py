"""The Wire page: one recorded payload, byte by byte."""

from __future__ import annotations

import streamlit as st
from ui.style import markdown
from wire import byte, corrupt, sections, selection

from deltamask.codecs import DecodeError
from deltamask.runs import StoreError

st.title("The wire")
st.markdown(
    "One message from one client, exactly as it crossed the network. Choose any byte to see what it means; "
    "everything on this page is read from these bytes."
)
chosen = selection.choose()
if chosen is not None:
    run, payload = chosen
    try:
        opened = selection.open_cached(run, payload)
    except (DecodeError, StoreError, OSError) as error:
        st.error(f"{payload.name} is refused: {markdown(str(error))}", icon=":material/gpp_bad:")
        st.caption("A server drops such a payload, says so in the round's record, and goes on without this client.")
    else:
        sections.draw_figures(opened)
        byte.draw(opened)
        sections.draw_parts(opened)
        if opened.flips is not None:
            sections.draw_map(opened, opened.flips)
            sections.draw_false_flips(opened)
            sections.draw_codecs(opened, opened.flips)
        corrupt.draw(opened)
