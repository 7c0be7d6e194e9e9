"""What every page of the dashboard stands in: title, logo, and the router between pages. `main.py` serves it.

It does not lie beside `pages/`: Streamlit would then take each file there for a page of its own, and show it without
this frame to the first visitor who asks for it by name.
"""

import gc
from pathlib import Path

import streamlit as st
from access import options
from ui import strip
from wire import precompile

APP = Path(__file__).resolve().parent.parent


@st.cache_resource(show_spinner=False)
def settle() -> None:
    """Once, when the first page is drawn. Streamlit collects garbage after every redraw, and would look through all
    modules and all records that were read: two thirds of what a move of the round's slider took."""
    gc.collect()
    gc.freeze()


st.set_page_config(page_title="DeltaMask Explorer", page_icon=str(APP / "icon.png"), layout="wide")
if not options.enforced:
    st.error(f"This page was started without the checks on who may see it. {options.HOW_TO_START}")
    st.stop()
st.logo(str(APP / "logo.svg"), size="large")
page = st.navigation(
    [
        st.Page(APP / "pages/lab.py", title="Lab", icon=":material/science:", default=True),
        st.Page(APP / "pages/compare.py", title="Compare", icon=":material/compare_arrows:"),
        st.Page(APP / "pages/wire.py", title="Wire", icon=":material/search:"),
        st.Page(APP / "pages/privacy.py", title="Privacy", icon=":material/shield:"),
        st.Page(APP / "pages/learn.py", title="Learn", icon=":material/school:"),
    ],
    position="top",
)
precompile.start()
strip.draw()
page.run()
settle()
