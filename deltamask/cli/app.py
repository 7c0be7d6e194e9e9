"""`deltamask app`: the dashboard, started from any folder."""

from __future__ import annotations

import importlib.util
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Annotated

import tyro

SCRIPT = Path(__file__).resolve().parents[2] / "app" / "main.py"
HEALTH = "_stcore/health"  # what Streamlit answers first


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
    os.execv(sys.executable, command(port, "--server.address", address))


def command(port: int, *options: str, script: Path = SCRIPT) -> list[str]:
    """The words that start the dashboard. options: Streamlit's own, such as `--server.address`."""
    return [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port), *options]


def free_port() -> int:
    """A TCP port that nobody listens on. None of those that a system gives to outgoing connections: one of these could
    take it before it is used."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def running(
    *options: str,
    script: Path = SCRIPT,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    output: IO[bytes] | int | None = None,
    patience: float = 120.0,
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A dashboard on a free port, in a process of its own that ends with the block: (process, address).

    folder: where it is started. environment: variables on top of ours. output: where its lines go. patience: seconds
    that it may take until it answers, and to end. Raises RuntimeError if it ends at once, TimeoutError.
    """
    port = free_port()
    process = subprocess.Popen(
        command(port, *options, script=script), cwd=folder, env={**os.environ, **(environment or {})},
        stdout=output, stderr=output,
    )  # fmt: skip
    try:
        url, end = f"http://localhost:{port}", time.monotonic() + patience
        while not _answers(f"{url}/{HEALTH}"):
            if process.poll() is not None:
                raise RuntimeError(f"the dashboard ended at once, with status {process.returncode}")
            if time.monotonic() > end:
                raise TimeoutError(f"the dashboard does not answer within {patience:g} s")
            time.sleep(0.05)
        yield process, url
    finally:
        process.terminate()
        process.wait(patience)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=1).close()
    except urllib.error.HTTPError:  # such as: log in first
        return True
    except OSError:
        return False
    return True
