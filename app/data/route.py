"""The ASGI application that answers `/data/NAME/...` and its like; NAME is a dataset's path below the served folder.

404 says that there is nothing there, and only that: the viewer draws it as empty space. What cannot be read is a 500 and a line
in the log. Every status carries the CORS headers, or the viewer takes it for a 404.
"""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote_to_bytes

from starlette.types import Receive, Scope, Send

from app.data.body import Body, Bytes, cached_span, decode_body, read_body, read_cached
from app.data.lookup import Stored
from app.data.reply import PREFLIGHT, Made, Outline, message, outline, outline_made
from app.protocol import FileSpan, Reply
from formats.errors import DecodeError

PREFIX = "/data"

_METHODS = b"GET, HEAD, OPTIONS"
_NOTHING = message(404, b"There is nothing here.\n")
_NOT_ALLOWED = message(405, b"Only %s are answered here.\n" % _METHODS, (b"allow", _METHODS))
_UNREADABLE = message(500, b"This is stored but cannot be read; the server's log says why.\n")

_log = logging.getLogger(__name__)


Found = Stored | Made | Outline
"""What answers a path: a stretch of an open file, bytes, or a response that is complete."""


class Files(Protocol):
    """What lies under the paths below a prefix, decoded ("/NAME/...")."""

    def at_once(self, path: str) -> Found | None:
        """Return what answers path, None when there is nothing. Raises whatever it likes where find has to be asked."""
        ...

    async def find(self, path: str) -> Found | None:
        """Return what answers path, None when there is nothing.

        Raises OSError, DecodeError when something is there that cannot be read: it must not look like what was never written.
        """
        ...


def real_root(root: Path) -> str:
    """Return the served folder's real path without a slash at its end."""
    return os.path.realpath(root).rstrip(os.sep)


@dataclass(frozen=True)
class DataApp:
    """Files under a prefix of URLs, which begins with a slash and does not end with one."""

    prefix: str
    files: Files

    def at_once(self, scope: Scope) -> Reply | None:
        """Return the response to a request when nothing has to be waited for, None when it takes a call to find it."""
        return self.file_at_once(self.path(scope), scope) if scope["method"] in ("GET", "HEAD") else None

    def file_at_once(self, path: str, scope: Scope) -> Reply | None:
        """Return the same for a path below the prefix, whatever the request's own is; its method is GET or HEAD."""
        try:
            found = self.files.at_once(path) or _NOTHING
        except Exception:  # a disk that has to be asked, or an error: a call meets it again, and tells it
            return None
        if not isinstance(found, Stored):
            planned = _outline(found, path, scope)
            return Reply(planned.status, planned.headers, read_cached(-1, planned.parts))
        reply = _reply_at_once(found, path, scope)
        if reply is None or not isinstance(reply.body, FileSpan):
            os.close(found.descriptor)
        return reply

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["method"] not in ("GET", "HEAD"):
            await _send(PREFLIGHT if scope["method"] == "OPTIONS" else _NOT_ALLOWED, None, receive, send)
            return
        await self.send_file(self.path(scope), scope, receive, send)

    async def send_file(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with what lies at a path below the prefix, whatever the request's own is; its method is GET or HEAD."""
        found = await self._found(path)
        if not isinstance(found, Stored):
            await _send(_outline(found, path, scope), None, receive, send)
            return
        try:
            await _answer_with(found, path, scope, receive, send)
        finally:
            os.close(found.descriptor)

    def path(self, scope: Scope) -> str:
        """Return a request's path below the prefix, percent-decoded exactly once, in the spelling of the file system."""
        raw: bytes = scope["raw_path"]
        path: str = os.fsdecode(unquote_to_bytes(raw)) if b"%" in raw else scope["path"]
        return path.removeprefix(self.prefix)

    async def _found(self, path: str) -> Found:
        try:
            return await self.files.find(path) or _NOTHING
        except Exception as error:
            return _unreadable(path, error)


def _outline(found: Made | Outline, path: str, scope: Scope) -> Outline:
    return outline_made(found, path, scope["method"], dict(scope["headers"])) if isinstance(found, Made) else found


def _reply_at_once(stored: Stored, path: str, scope: Scope) -> Reply | None:
    """Return the response for an open file; a body that is a FileSpan is of that very file."""
    try:
        planned = outline(stored, path, scope["method"], dict(scope["headers"]))
        if planned.is_decoded:
            return None
        span = cached_span(stored.descriptor, planned.parts)
        body = read_cached(stored.descriptor, planned.parts) if span is None else FileSpan(stored.descriptor, *span)
        return Reply(planned.status, planned.headers, body)
    except Exception:  # a disk that has to be asked, or an error: a call meets it again, and tells it
        return None


async def _answer_with(stored: Stored, path: str, scope: Scope, receive: Receive, send: Send) -> None:
    try:
        planned = outline(stored, path, scope["method"], dict(scope["headers"]))
        body = await _body(stored, planned, scope["method"])
    except Exception as error:
        await _send(_unreadable(path, error), None, receive, send)
        return
    try:
        await _send(planned, body, receive, send)
    except (OSError, DecodeError) as error:
        # Fewer bytes than the headers promise, or chunks without an end: the client sees that the body is broken off.
        _log.error("%r cannot be read to its end, the response is broken off: %s", path, error)


async def _body(stored: Stored, planned: Outline, method: str) -> Body:
    """Return the planned body; what is decoded whole gets its length into the headers."""
    if not planned.is_decoded:
        return await read_body(stored.descriptor, planned.parts)
    body = await decode_body(stored.descriptor, stored.span, stored.coding)
    if body.rest is None:
        planned.headers.append((b"content-length", b"%d" % len(body.first)))
    return Body(b"") if method == "HEAD" else body


def _unreadable(path: str, error: Exception) -> Outline:
    """Return a 500, whatever went wrong: the one that uvicorn sends for an exception has no CORS headers."""
    foreseen = isinstance(error, (OSError, DecodeError))
    _log.error("%r cannot be read: %s", path, error, exc_info=None if foreseen else error)
    return _UNREADABLE


async def _send(planned: Outline, body: Body | None, receive: Receive, send: Send) -> None:
    """Send a response; body is None when it is all in the outline."""
    body = body or Body(read_cached(-1, planned.parts))
    await send({"type": "http.response.start", "status": planned.status, "headers": planned.headers})
    if body.rest is None:
        await send({"type": "http.response.body", "body": body.first})
    else:
        await _stream(body.first, body.rest, receive, send)


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
                # Neither reading nor sending need have waited for anything: others have their turn, the watch among them.
                await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
