"""What the scrubber fetches by itself while it moves: a kept message as a picture."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

FIRST = "first"  # in the place of a client's number: whoever's message is the first of the round


def picture(request: Request) -> Response:
    """`/message?run=ID&round=N&client=K`: the PNG that the page shows, its bytes, width and height in the
    headers; 204 where nothing was kept."""
    from ui import processes  # half a second, for which the server's start does not wait

    from deltamask.plots import pictures
    from deltamask.runs import StoreError

    asked = request.query_params
    try:
        run, round = processes.read(asked.get("run", "")), int(asked.get("round", ""))
        client = None if asked.get("client") == FIRST else int(asked.get("client", ""))
    except ValueError:
        return PlainTextResponse("round and client are whole numbers", 400)
    try:
        kept = run.payloads(round) if run else []
        message = next((each for each in kept if client is None or each.client == client), None)
        drawn = pictures.draw(message) if message else None
    except StoreError as error:
        return PlainTextResponse(str(error), 404)
    if drawn is None:
        return Response(status_code=204) if run else PlainTextResponse("there is no such run", 404)
    told = {"bytes": drawn.sent, "width": drawn.width, "height": drawn.height}
    headers = {"cache-control": "no-store", **{f"x-message-{name}": str(value) for name, value in told.items()}}
    return Response(drawn.png, media_type="image/png", headers=headers)


ROUTES = [Route("/message", picture)]
