"""DeltaMask Explorer's dashboard: the frame and the router. `streamlit run app/main.py`"""

import streamlit as st
from style import STYLE

st.set_page_config(page_title="DeltaMask Explorer", page_icon=":material/grid_on:", layout="wide")
st.html(STYLE)
page = st.navigation(
    [
        st.Page("lab.py", title="Lab", icon=":material/science:", default=True),
        st.Page("wire.py", title="Wire", icon=":material/search:"),
        st.Page("learn.py", title="Learn", icon=":material/school:"),
    ]
)
page.run()
