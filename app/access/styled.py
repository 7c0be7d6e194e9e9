"""Puts the page's CSS into the document itself: as an element of the page it would come after what it is about, and
everything would move once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

END = b"</body>"  # behind the styles that Streamlit adds to the head, so that ours decide
# What would let the browser keep a document with the CSS of an earlier version.
DROPPED = (b"content-length", b"etag", b"last-modified")


class Styled:
    """ASGI middleware that adds `style`, a `<style>` element, to each HTML document."""

    def __init__(self, app: ASGIApp, *, style: str) -> None:
        self.app, self.style = app, style.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        begun: Message | None = None
        parts: list[bytes] = []

        async def sending(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start" and _is_html(message):
                begun = message
            elif begun is not None and message["type"] == "http.response.body":
                parts.append(message.get("body", b""))
                if not message.get("more_body"):
                    await self._send(begun, b"".join(parts), send)
            else:
                await send(message)

        headers = scope["headers"]
        if any(name == b"accept" and b"text/html" in value for name, value in headers):  # not to be compressed
            headers = [(name, value) for name, value in headers if name != b"accept-encoding"]
        await self.app({**scope, "headers": headers}, receive, sending)

    async def _send(self, begun: Message, body: bytes, send: Send) -> None:
        body = body.replace(END, self.style + END, 1)
        kept = [(name, value) for name, value in begun.get("headers", ()) if name.lower() not in DROPPED]
        await send({**begun, "headers": [*kept, (b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})


def _is_html(message: Message) -> bool:
    headers = {name.lower(): value for name, value in message.get("headers", ())}
    return bool(
        message["status"] == 200
        and headers.get(b"content-type", b"").startswith(b"text/html")
        and b"content-encoding" not in headers
    )
