"""The dashboard's server as a user starts it, and a visitor without a browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from deltamask.cli.app import SCRIPT, running

PATIENCE = 120  # seconds; the machine may be busy
HANDSHAKE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
             "Sec-WebSocket-Version": "13"}  # fmt: skip


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
def serving(folder: Path, *options: str, script: Path = SCRIPT, **variables: str) -> Iterator[int]:
    """A server started in `folder`, which is not the repository; yields its port."""
    environment = {"HOME": str(folder), "DELTAMASK_RUNS": str(folder / "runs"), **variables}
    with running(*options, script=script, folder=folder, environment=environment) as (_, url):
        yield int(url.rpartition(":")[2])
