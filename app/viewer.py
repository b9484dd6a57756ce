"""The viewer's client, from the wheel `neuroglancer`, and what it expects of the server that it is loaded from.

It is the build for the wheel's own server: it takes TOKEN from `/v/TOKEN/` in its address, listens to an event stream at
`/events/TOKEN` (and asks for it again and again where there is none), and posts to `/state/TOKEN` and `/action/TOKEN`.

To its page one script of ours is added, static/refresh.js, which has it ask again for what was not written yet.
"""

import asyncio
from collections.abc import Awaitable, Iterable
from importlib.util import find_spec
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

import static
from converters.errors import OptionError

_CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".wasm": "application/wasm",
    ".map": "application/json",
}
"""Told here because the system's own tables differ, and a wasm file of another type is compiled slowly or not at all."""

_REFRESH = Path(static.__file__).with_name("refresh.js")
_FOR_EVER = "public, max-age=31536000, immutable"


def client_folder() -> Path:
    """Return the folder of the built client, found without importing its package. Raises OptionError where there is none."""
    spec = find_spec("neuroglancer")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(place, "static", "client")
        if (folder / "index.html").is_file():
            return folder
    raise OptionError("the viewer is not installed: pip install neuroglancer")


class IdleStreams:
    """The event streams that open viewers listen to: nothing is ever sent on them.

    A server waits for open responses before it stops, so it calls close() first.
    """

    def __init__(self) -> None:
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End all streams, open ones and later ones. Call it in the event loop that serves them."""
        self._closing.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI) until the client goes or the streams are closed."""
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b": idle\n\n", "more_body": True})
        await _first(_disconnected(receive), self._closing.wait())
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def viewer_routes(streams: IdleStreams) -> list[BaseRoute]:
    """Return the routes /v/TOKEN/, /events/TOKEN, /state/TOKEN and /action/TOKEN. Raises OptionError without the client."""
    files = {path.name: path for path in client_folder().iterdir() if path.is_file()}
    files[_REFRESH.name] = _REFRESH
    page = _page(files["index.html"])

    async def client_file(request: Request) -> Response:
        name = request.path_params["file"] or "index.html"
        if name not in files:
            return PlainTextResponse("The viewer has no such file.\n", status_code=404)
        if name == "index.html":
            return HTMLResponse(page, headers={"Cache-Control": "no-cache"})
        # All names of the client's hold a hash of what is in the file.
        caching = "no-cache" if name == _REFRESH.name else _FOR_EVER
        content_type = _CONTENT_TYPES.get(files[name].suffix)
        return FileResponse(files[name], media_type=content_type, headers={"Cache-Control": caching})

    return [
        Route("/v/{token}", _with_slash),
        Route("/v/{token}/{file:path}", client_file),
        Route("/events/{token}", streams),
        Route("/state/{token}", _state, methods=["POST"]),
        Route("/action/{token}", _action, methods=["POST"]),
    ]


def _page(index: Path) -> str:
    """Return the client's page with the script of ours."""
    return index.read_text().replace("</head>", f'<script type="module" src="{_REFRESH.name}"></script></head>')


async def _with_slash(request: Request) -> Response:
    return RedirectResponse(f"{request.path_params['token']}/", status_code=307)


async def _state(request: Request) -> Response:
    """Take note of nothing: the state lives in the page's address. The client wants a generation back."""
    return JSONResponse({"g": ""})


async def _action(request: Request) -> Response:
    return JSONResponse({})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _first(*waits: Awaitable[object]) -> None:
    """Return when one of them is done; the others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _cancel(tasks)


async def _cancel(tasks: Iterable[asyncio.Future[object]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
