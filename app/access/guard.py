"""Whom the server answers: requests over loopback, for a name of this machine, from its own pages.

Without a password, all three must hold. A page elsewhere whose name resolves to 127.0.0.1 (DNS rebinding) sends that
name as Host and Origin, and is refused. With a password, any address and name will do for whoever has logged in.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from access import options

if TYPE_CHECKING:
    from access.login import Login
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The browser itself holds the page to "asks nobody else": scripts, images and connections only from here.
HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'self'; base-uri 'self'; "
        b"form-action 'self'; object-src 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
]


class Guard:
    """ASGI middleware in front of all that Streamlit serves: pages, WebSocket, uploads and media."""

    def __init__(self, app: ASGIApp, *, login: Login | None = None) -> None:
        self.app, self.login = app, login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        elif reason := refusal(scope, anywhere=self.login is not None):
            await refuse(scope, send, 403, reason)
        elif self.login and not self.login.admits(scope):
            await self.login.ask(scope, receive, send)
        else:
            await self.app(scope, receive, _with_headers(send))


def refusal(scope: Scope, *, anywhere: bool) -> str | None:
    """Why a request is not answered, or None. anywhere: it may come over any address, for any name of the server."""
    address = (scope.get("server") or ("", 0))[0]
    if not anywhere and not options.is_local(address):
        return f"This dashboard answers beyond its own machine only with a password: set {options.PASSWORD}."
    hosts, origins = header(scope, b"host"), header(scope, b"origin")
    if len(hosts) != 1 or len(origins) > 1:
        return "One Host and at most one Origin are expected."
    if not anywhere and host_name(hosts[0]) not in options.LOCAL_HOSTS:
        return f"This dashboard answers only to {', '.join(options.LOCAL_HOSTS)}, not to {hosts[0][:200]!r}."
    if origins and urlsplit(origins[0]).netloc.lower() != hosts[0].lower():
        return f"A page of {origins[0][:200]!r} may not use this dashboard."
    return None


def header(scope: Scope, name: bytes) -> list[str]:
    """The values of a header, in the order they came."""
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key == name]


def host_name(host: str) -> str | None:
    """The name in a Host header, without port and brackets; None if it holds anything else."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # ValueError: not a port
    except ValueError:
        return None
    whole = parts.netloc == host and parts.username is None and parts.password is None
    return parts.hostname.rstrip(".") if whole and parts.hostname else None


async def refuse(scope: Scope, send: Send, status: int, reason: str) -> None:
    """Answer with a line of text; a WebSocket is closed before it is opened (the browser sees status 403)."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
    else:
        await answer(send, status, reason.encode() + b"\n", [(b"content-type", b"text/plain; charset=utf-8")])


async def answer(send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """A whole HTTP response, kept by no cache."""
    start = [*headers, *HEADERS, (b"cache-control", b"no-store"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
        await send(message)

    return sending
