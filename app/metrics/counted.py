"""The application with everything that passes counted, and /metrics, which tells it."""

import asyncio
import logging
from collections.abc import Awaitable, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from app.jobs.store import Store
from app.logs import Answered, RequestLog
from app.metrics.books import Books, Taken
from app.metrics.counts import Counts
from app.metrics.folders import Folders
from app.protocol import FileSpan, Reply

_SECONDS = 1.0
"""Between two snapshots for the other processes."""
_FAILED = 500
"""What uvicorn answers for an exception."""

_log = logging.getLogger(__name__)


class Site(Protocol):
    """What is counted: app.server.Site."""

    def at_once(self, scope: Scope) -> Reply | None: ...

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Telling:
    """How it is told what the server does. folder: shared by its processes. requests: the log of requests, None for none."""

    folder: Path | None = None
    requests: RequestLog | None = None


class Counted:
    """A site in the same interface; use it in one event loop. connections: those that are open, if the server tells."""

    def __init__(self, site: Site, root: Path, store: Store, telling: Telling) -> None:
        self.site = site
        self.connections: Sized = ()
        folders = Folders(root)
        self._counts = Counts(folders.is_known)
        self._at_once, self._note = site.at_once, self._counts.note
        self._in_progress = 0
        self._log = telling.requests
        self._logs_all = self._log is not None and self._log.which == "all"
        self._books = Books(folders, store, telling.folder)
        # One thread alone, so that the books need no locks, and a slow disk holds up neither requests nor their reading.
        self._bookkeeper = ThreadPoolExecutor(1, "glassine-metrics")

    def at_once(self, scope: Scope) -> Reply | None:
        """Return the response when nothing has to be waited for (AnswersAtOnce)."""
        begun = perf_counter()
        reply = self._at_once(scope)
        if reply is None:
            return None
        body = reply.body
        size = (body.end - body.start) if type(body) is FileSpan else len(body)
        method = scope["method"]
        if method == "HEAD":
            size = 0
        self._note(scope["path"], method, reply.status, size, perf_counter() - begun)
        if self._logs_all or reply.status >= _FAILED:
            self._tell(scope, Answered(scope["path"], reply.status, size, perf_counter() - begun))
        return reply

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        else:
            await self.site(scope, receive, send)

    def close(self) -> None:
        """Do what the site does when its server is told to stop."""
        self.site.close()

    async def metrics(self, request: Request) -> Response:
        """Answer GET /metrics."""
        accept = request.headers.get("accept", "")
        loop = asyncio.get_running_loop()
        page, content_type = await loop.run_in_executor(self._bookkeeper, self._books.page, self._taken(), accept)
        return Response(page, media_type=content_type, headers={"Cache-Control": "no-store"})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        # What is behind may cut a grant off the path.
        path, method = scope["path"], scope["method"]
        answer = _Answer(send, 0 if method == "HEAD" else 1)
        self._in_progress += 1
        try:
            await self.site(scope, receive, answer.send)
        except Exception:
            answer.fail()
            raise
        finally:
            self._in_progress -= 1
            self._note(path, method, answer.status, answer.size, answer.seconds)
            self._tell(scope, Answered(path, answer.status, answer.size, perf_counter() - answer.begun))

    def _tell(self, scope: Scope, answered: Answered) -> None:
        if self._log is not None and self._log.wants(scope["method"], answered.path, answered.status):
            self._log.tell(scope, answered)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Keep the books as long as the server runs, and close them before it hears that all is done."""
        keeping = asyncio.create_task(self._keep_books())

        async def closing(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                await self._close_books(keeping)
            await send(message)

        try:
            await self.site(scope, receive, closing)
        finally:
            keeping.cancel()

    async def _keep_books(self) -> None:
        while True:
            await self._keep()
            await asyncio.sleep(_SECONDS)

    async def _keep(self) -> None:
        kept = asyncio.get_running_loop().run_in_executor(self._bookkeeper, self._books.keep, self._taken())
        try:
            # Whoever waits for it may be cancelled; what was taken is not lost by that.
            await asyncio.shield(kept)
        except Exception:
            _log.exception("requests of the last second are not counted")

    async def _close_books(self, keeping: asyncio.Task[None]) -> None:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
        await self._keep()
        self._books.close()
        self._bookkeeper.shutdown()

    def _taken(self) -> Taken:
        return Taken(self._counts.take(), len(self.connections), self._in_progress)


class _Answer:
    """What is known of a response while it is sent. counts_body: 0 where no body is sent whatever is said."""

    def __init__(self, send: Send, counts_body: int) -> None:
        self._send = send
        self._counts_body = counts_body
        self.begun = perf_counter()
        self.status = 0
        self.size = 0
        self.seconds = 0.0

    async def send(self, message: Message) -> None:
        """Hand on a message."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.seconds = perf_counter() - self.begun
        else:
            self.size += self._counts_body * len(message.get("body", b""))
        await self._send(message)

    def fail(self) -> None:
        """Note that nothing was answered but an error of the server."""
        if not self.status:
            self.status, self.seconds = _FAILED, perf_counter() - self.begun
