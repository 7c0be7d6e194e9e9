"""`deltamask app`: the dashboard, started from any folder."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated

import tyro

SCRIPT = Path(__file__).resolve().parents[2] / "app" / "main.py"


def app(
    *,
    port: Annotated[int, tyro.conf.arg(help="Port to listen on.")] = 8501,
    address: Annotated[
        str, tyro.conf.arg(help="Address to listen on; any but localhost needs a password in $DELTAMASK_PASSWORD.")
    ] = "localhost",
) -> int:
    """Open the dashboard on http://localhost:8501. New runs go to runs/ in the current folder."""
    if not SCRIPT.is_file():
        raise RuntimeError(f"{SCRIPT}: the dashboard is a part of the repository, not of the installed package")
    if importlib.util.find_spec("streamlit") is None:
        raise RuntimeError("Streamlit is not installed: pip install 'deltamask[app]'")
    options = ["--server.port", str(port), "--server.address", address]
    os.execv(sys.executable, [sys.executable, "-m", "streamlit", "run", str(SCRIPT), *options])
