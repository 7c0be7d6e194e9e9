"""DeltaMask Explorer's dashboard: the frame and the router. `streamlit run app/main.py`"""

import gc
from pathlib import Path

import streamlit as st
from ui.style import STYLE
from wire import precompile

HERE = Path(__file__).parent


@st.cache_resource(show_spinner=False)
def settle() -> None:
    """Once, when the first page is drawn. Streamlit collects garbage after every redraw, and would look through all
    modules and all records that were read: two thirds of what a move of the round's slider took."""
    gc.collect()
    gc.freeze()


st.set_page_config(page_title="DeltaMask Explorer", page_icon=str(HERE / "icon.png"), layout="wide")
st.html(STYLE)
st.logo(str(HERE / "logo.svg"), size="large")
page = st.navigation(
    [
        st.Page("pages/lab.py", title="Lab", icon=":material/science:", default=True),
        st.Page("pages/compare.py", title="Compare", icon=":material/compare_arrows:"),
        st.Page("pages/wire.py", title="Wire", icon=":material/search:"),
        st.Page("pages/learn.py", title="Learn", icon=":material/school:"),
    ],
    position="top",
)
precompile.start()
page.run()
settle()
