"""The CSS stands in the document, whatever way the document is sent; nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import pytest
from access.styled import Styled
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

PAGE = "<html><head><title>λ</title></head><body>b</body></html>"
STYLE = "<style>b {color: red}</style>"
EXPECTED = PAGE.replace("</body>", f"{STYLE}</body>", 1)


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    (tmp_path / "index.html").write_text(PAGE)

    async def parts(request: Request) -> Response:
        return StreamingResponse(
            iter([PAGE[:9].encode(), PAGE[9:40].encode(), PAGE[40:].encode()]), media_type="text/html"
        )

    routes = [
        Route("/whole", lambda request: HTMLResponse(PAGE)),
        Route("/file", lambda request: FileResponse(tmp_path / "index.html")),
        Route("/parts", parts),
        Route("/text", lambda request: PlainTextResponse(PAGE)),
        Route("/gone", lambda request: HTMLResponse(PAGE, status_code=404)),
    ]
    return TestClient(
        Starlette(
            routes=routes, middleware=[Middleware(Styled, style=STYLE), Middleware(GZipMiddleware, minimum_size=10)]
        )
    )


@pytest.mark.parametrize("path", ["/whole", "/file", "/parts"])
def test_a_document_has_it_once_and_is_not_kept(client: TestClient, path: str) -> None:
    reply = client.get(path, headers={"accept": "text/html,*/*;q=0.8", "accept-encoding": "gzip"})
    assert reply.text == EXPECTED
    assert int(reply.headers["content-length"]) == len(EXPECTED.encode())
    assert not {"etag", "last-modified"} & set(reply.headers)


@pytest.mark.parametrize("path", ["/text", "/gone"])
def test_what_is_no_document_is_left_alone(client: TestClient, path: str) -> None:
    assert client.get(path).text == PAGE
