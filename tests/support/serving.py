"""A server on this machine that is honest, slow to finish, wrong, or not there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves `files`. It breaks off after `stop_after` bytes, and may not know how to go on in the middle."""

    files: dict[str, bytes]
    stop_after: int | None = None
    ranges = True
    gate: threading.Event | None = None  # nothing is sent before it is set
    asked: list[tuple[str, str]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        wanted = self.headers.get("Range", "")
        server.asked.append((self.path, wanted))
        if server.gate is not None:
            server.gate.wait(60)
        content = server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-") or 0) if server.ranges else 0
        self.send_response(206 if server.ranges else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = None if server.stop_after is None else max(start, server.stop_after)
        self.wfile.write(content[start:end])

    def log_message(self, *told: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.files, running.asked = {}, []
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def offer_package(server: Server, project: str, name: str, content: bytes, told: str = "") -> None:
    """A project's page with one file, as an index of packages has it. told: what the link says behind its `#`."""
    server.files[f"/files/{name}"] = content
    link = f'<a href="../../files/{name}{"#" if told else ""}{told}">{name}</a>'
    server.files[f"/simple/{project}/"] = f"<!DOCTYPE html><html><body><h1>{project}</h1>{link}</body></html>".encode()
