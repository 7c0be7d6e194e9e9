"""One password for all visitors: a form, a cookie, and a second between two guesses."""

from __future__ import annotations

import asyncio
import hmac
import html
import secrets
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote

from access import guard

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

COOKIE = "deltamask_login"
LONGEST_FORM = 4096  # bytes
GUESS_SECONDS = 1.0
MOST_GUESSING = 20  # requests that wait for their turn to guess

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>DeltaMask Explorer</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font-family:system-ui,sans-serif;max-width:22rem;margin:20vh auto;padding:0 1rem;color-scheme:light dark}}
input,button{{font:inherit;width:100%;box-sizing:border-box;padding:.5rem;margin:.4rem 0}}</style></head>
<body><h1>DeltaMask Explorer</h1><form method="post">
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required autofocus>
<button>Log in</button><p role="alert">{fault}</p></form></body></html>
"""


class Login:
    """Who has given the password since the server was started. The cookie's value is drawn at the start."""

    def __init__(self, password: str) -> None:
        self._password = password.encode()
        self._token = secrets.token_urlsafe(32)
        self._turn = asyncio.Lock()
        self._guessing = 0

    def admits(self, scope: Scope) -> bool:
        """Does the request carry the cookie?"""
        for value in guard.header(scope, b"cookie"):
            try:
                morsel = SimpleCookie(value).get(COOKIE)
            except CookieError:
                continue
            if morsel and hmac.compare_digest(morsel.value.encode(), self._token.encode()):
                return True
        return False

    async def ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Show the form, or judge what was typed into it; whoever logs in goes on to the address they asked for."""
        if scope["type"] == "websocket":
            await guard.refuse(scope, send, 401, "Log in first.")
        elif scope["method"] != "POST":
            await _show_form(send, 401, "")
        elif self._guessing >= MOST_GUESSING:
            await _show_form(send, 429, "Too many are logging in at once: try again in a minute.")
        elif await self._is_right(await _typed(receive)):
            flags = "; HttpOnly; SameSite=Lax; Path=/" + ("; Secure" if scope["scheme"] == "https" else "")
            query = scope["query_string"]
            place = "/" + quote(scope["path"].lstrip("/")) + ("?" + query.decode("latin-1") if query else "")
            headers = [
                (b"location", place.encode()),
                (b"set-cookie", f"{COOKIE}={self._token}{flags}".encode()),
            ]
            await guard.answer(send, 303, b"", headers)
        else:
            await _show_form(send, 401, "That is not the password.")

    async def _is_right(self, typed: bytes) -> bool:
        """One guess at a time, whoever guesses, and a pause after each that fails."""
        self._guessing += 1
        try:
            async with self._turn:
                right = hmac.compare_digest(typed, self._password)
                if not right:
                    await asyncio.sleep(GUESS_SECONDS)
                return right
        finally:
            self._guessing -= 1


async def _typed(receive: Receive) -> bytes:
    """The form's password; empty where the form is none, or too long."""
    body = b""
    while len(body) <= LONGEST_FORM:
        message = await receive()
        if message["type"] != "http.request":
            return b""
        body += message.get("body", b"")
        if not message.get("more_body"):
            fields = parse_qs(body.decode("latin-1"), encoding="utf-8", errors="replace", max_num_fields=4)
            return fields.get("password", [""])[0].encode()
    return b""


async def _show_form(send: Send, status: int, fault: str) -> None:
    page = PAGE.format(fault=html.escape(fault)).encode()
    await guard.answer(send, status, page, [(b"content-type", b"text/html; charset=utf-8")])
