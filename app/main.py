"""DeltaMask Explorer's dashboard: its server. `streamlit run app/main.py`, `make app` or `deltamask app`.

What the server shows is `ui/frame.py`; who may see it is decided here, by `access`.
"""

from pathlib import Path

import messages
import streamlit as st
import warm
from access import options
from access.guard import Guard
from access.login import Login
from access.styled import Styled
from starlette.middleware import Middleware
from ui.css import STYLE

options.enforce()
options.refuse_open_address()
password = options.password()
app = st.App(
    Path(__file__).resolve().parent / "ui" / "frame.py",
    routes=messages.ROUTES,
    middleware=[Middleware(Guard, login=Login(password) if password else None), Middleware(Styled, style=STYLE)],
)
options.announce()
warm.start()
