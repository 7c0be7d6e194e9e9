"""The dashboard's server as a user starts it, and a visitor without a browser."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "app" / "main.py"
PATIENCE = 120  # seconds; the machine may be busy
HANDSHAKE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
             "Sec-WebSocket-Version": "13"}  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_server(
    folder: Path, *arguments: str, script: Path = APP, port: int, **variables: str
) -> subprocess.Popen[str]:
    """`streamlit run SCRIPT`, started in `folder`, which is not the repository."""
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port), *arguments]
    environment = {**os.environ, "HOME": str(folder), "DELTAMASK_RUNS": str(folder / "runs"), **variables}
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: str


def ask(
    port: int, path: str = "/", *, address: str = "127.0.0.1", method: str = "GET", body: str | None = None,
    **headers: str,
) -> Answer:  # fmt: skip
    """One HTTP request; a header's underscores stand for hyphens, and Host is localhost unless it is given."""
    connection = HTTPConnection(address, port, timeout=PATIENCE)
    given = {"Host": f"localhost:{port}"} | {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, body, given)
        response = connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, fields, "" if response.status == 101 else response.read().decode())
    finally:
        connection.close()


def open_socket(port: int, **headers: str) -> int:
    """The status that asking for the page's WebSocket gives: 101 where it is opened."""
    return ask(port, "/_stcore/stream", **{**HANDSHAKE, **headers}).status


@contextmanager
def serving(folder: Path, *arguments: str, script: Path = APP, **variables: str) -> Iterator[int]:
    """A server that answers, on a free port; it has ended when the block is left."""
    port = free_port()
    process = start_server(folder, *arguments, script=script, port=port, **variables)
    try:
        for _ in range(PATIENCE * 5):
            try:
                ask(port, "/_stcore/health")
                break
            except OSError:
                assert process.poll() is None, process.communicate()[0]
                time.sleep(0.2)
        else:
            raise TimeoutError("the server does not answer")
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)
