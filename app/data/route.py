"""The ASGI function that answers `/data/NAME/...`; NAME is a dataset's path below the served folder, slashes included.

404 says that there is nothing there, and only that: the viewer draws it as empty space. What cannot be read is a 500 and a line
in the log. Every status carries the CORS headers, or the viewer takes it for a 404.
"""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

from app.data.lookup import Stored, open_stored
from app.data.reply import PREFLIGHT, Bytes, Reply, message, reply_with
from app.protocol import WHOLE_RESPONSE
from formats.errors import DecodeError

PREFIX = "/data"

_METHODS = b"GET, HEAD, OPTIONS"
_NOTHING = message(404, b"There is nothing here.\n")
_NOT_ALLOWED = message(405, b"Only %s are answered here.\n" % _METHODS, (b"allow", _METHODS))
_UNREADABLE = message(500, b"This is stored but cannot be read; the server's log says why.\n")

_log = logging.getLogger(__name__)


def data_app(root: Path) -> ASGIApp:
    """Return the ASGI application of /data/... for the files below root, which may itself be a link."""
    real_root = os.path.realpath(root).rstrip(os.sep)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            await _send(PREFLIGHT if scope["method"] == "OPTIONS" else _NOT_ALLOWED, scope, receive, send)
            return
        path = _decoded_path(scope)
        opened = await _opened(real_root, path)
        if isinstance(opened, Reply):
            await _send(opened, scope, receive, send)
            return
        try:
            await _answer_with(opened, path, scope, receive, send)
        finally:
            os.close(opened.descriptor)

    return answer


def _decoded_path(scope: Scope) -> str:
    """Return the path below PREFIX, percent-decoded exactly once, in the spelling of the file system."""
    raw: bytes = scope["raw_path"]
    path: str = os.fsdecode(unquote_to_bytes(raw)) if b"%" in raw else scope["path"]
    return path.removeprefix(PREFIX)


async def _opened(root: str, path: str) -> Stored | Reply:
    try:
        return await open_stored(root, path) or _NOTHING
    except Exception as error:
        return _unreadable(path, error)


async def _answer_with(stored: Stored, path: str, scope: Scope, receive: Receive, send: Send) -> None:
    try:
        reply = await reply_with(stored, path, scope["method"], dict(scope["headers"]))
    except Exception as error:
        reply = _unreadable(path, error)
    try:
        await _send(reply, scope, receive, send)
    except (OSError, DecodeError) as error:
        # Fewer bytes than the headers promise, or chunks without an end: the client sees that the body is broken off.
        _log.error("%r cannot be read to its end, the response is broken off: %s", path, error)


def _unreadable(path: str, error: Exception) -> Reply:
    """Return a 500, whatever went wrong: the one that uvicorn sends for an exception has no CORS headers."""
    foreseen = isinstance(error, (OSError, DecodeError))
    _log.error("%r cannot be read: %s", path, error, exc_info=None if foreseen else error)
    return _UNREADABLE


async def _send(reply: Reply, scope: Scope, receive: Receive, send: Send) -> None:
    extension = scope.get("extensions", {}).get(WHOLE_RESPONSE)
    if reply.rest is None and extension is not None:
        extension["write"](reply.status, reply.headers, reply.body)
        return
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    if reply.rest is None:
        await send({"type": "http.response.body", "body": reply.body})
    else:
        await _stream(reply.body, reply.rest, receive, send)


async def _stream(first: Bytes, rest: AsyncGenerator[Bytes, None], receive: Receive, send: Send) -> None:
    """Send a body piece by piece until it ends or the client has gone."""
    # uvicorn's send swallows what a client that has gone would have got: without the watch the whole file would be read.
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await send({"type": "http.response.body", "body": first, "more_body": True})
        async with aclosing(rest) as pieces:
            async for piece in pieces:
                if gone.done():
                    return
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
