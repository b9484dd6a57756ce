"""uvicorn's HTTP protocol for an application that can answer some requests at once, with limits to what a client may take.

Most chunks lie in the page cache. For them a task, ASGI's messages, copies of the body and two writes, which are two packets of
which the first wakes the client up for nothing, cost more than all the rest: what can be answered without waiting is answered
where the request has been parsed, and a file goes from the page cache to the socket by sendfile(2). On loopback that is twice as
many chunks a second.

Sizes are looked at where more comes than any browser sends, and times once a second for all connections (check), so that a
request like all others costs neither a sum nor a timer.
"""

import asyncio
import logging
import os
import socket
from asyncio import Transport
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from app.limits import (
    DEFAULT,
    NOT_HTTP,
    Limits,
    Refusal,
    crowded,
    header_bytes,
    large_headers,
    late_body,
    late_head,
    long_target,
    unsent_bytes,
)

_SEND_FLAGS = getattr(socket, "MSG_MORE", 0) | getattr(socket, "MSG_DONTWAIT", 0)
"""MSG_MORE: what follows goes into the same packet."""

_log = logging.getLogger(__name__)


class FileSpan(NamedTuple):
    """The bytes of an open file from start to the one before end, which are in memory; whoever gets it closes the file."""

    descriptor: int
    start: int
    end: int


class Reply(NamedTuple):
    """A response that is complete; the headers tell the body's length and hold nothing from the request."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes | bytearray | FileSpan


class AnswersAtOnce(Protocol):
    """An ASGI application whose at_once gives the response that a call would send, or None when that takes waiting."""

    def at_once(self, scope: Scope) -> Reply | None: ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class _Wait(NamedTuple):
    """What a connection waits for its client to do. progress: other than before when it has done some of it."""

    progress: tuple[object, ...]
    seconds: float
    end: Callable[[], None]


class AtOnceProtocol(HttpToolsProtocol):
    """HttpToolsProtocol that makes use of an application that AnswersAtOnce; for others it is the same.

    Whoever runs it calls check of every connection about once a second.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        limits: Limits = DEFAULT,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        # uvicorn's has these from the first request on.
        self.url, self.headers = b"", []
        self._limits = limits
        self._started: RequestResponseCycle | None = None
        self._delivered = 0
        """How many heads and pieces of bodies have come."""
        self._undelivered = 0
        """Bytes that have come since, but for those of the same read."""
        self._read = 0
        """Bytes of the last read."""
        self._is_refused = False
        self._wait: _Wait | None = None
        self._waits_since = 0.0

    # The connection

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin to serve a connection, or to tell the client that there is no room for it."""
        super().connection_made(transport)
        surplus = len(self.connections) - self._limits.connections
        if surplus > self._limits.spare_connections:
            self._refuse(crowded(self._limits))
            transport.close()
        elif surplus > 0:
            self.app = crowded(self._limits)  # told as soon as it has asked for something

    def connection_lost(self, exc: Exception | None) -> None:
        """End the serving of a connection."""
        # uvicorn tells the last request's cycle alone, but when several came together an earlier one is being answered.
        if self._started is not None:
            self._started.disconnected = True
            self._started.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has come, and refuse what brings neither a head nor a body to its end."""
        if self._is_refused:
            return
        self._read = len(data)
        delivered = self._delivered
        super().data_received(data)
        if self._delivered != delivered:
            self._undelivered = 0
            return
        self._undelivered += len(data)
        if self._undelivered > self._limits.head_bytes:
            self._refuse_unfinished(self._too_large() or large_headers(self._limits))

    # What the parser calls

    def on_headers_complete(self) -> None:
        """Answer a request, or queue it behind an earlier one."""
        self._delivered += 1
        if self._undelivered + self._read > self._limits.target_bytes:
            refusal = self._too_large()
            if refusal is not None:
                self.app = refusal
                self.url = self.url[: self._limits.target_bytes]
        super().on_headers_complete()
        # What comes behind a body in pieces is no header (RFC 9110, section 6.5).
        self.headers = []

    def on_body(self, body: bytes) -> None:
        """Hand on a piece of a body."""
        self._delivered += 1
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Go on with the next request; uvicorn's own would set a timer, which check makes needless."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse_unfinished(NOT_HTTP)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._started = cycle
        if self.transport.is_closing():
            return
        if isinstance(app, Refusal):
            cycle.response_started = cycle.response_complete = True
            self._refuse(app)
            return
        # Requests that had to queue are left to tasks, as is everything while the transport still holds data.
        is_alone = cycle is self.cycle and not self.pipeline and not self.flow.write_paused
        at_once = getattr(app, "at_once", None)
        reply = at_once(cycle.scope) if is_alone and at_once is not None else None
        if reply is None:
            super()._start_asgi_task(cycle, app)
            return
        try:
            _write(cycle, reply)
        finally:
            if isinstance(reply.body, FileSpan):
                os.close(reply.body.descriptor)
        _complete(cycle)

    # Limits

    def shutdown(self) -> None:
        """Close the connection as soon as nothing is being answered on it."""
        if self._is_refused:
            self.transport.close()
        else:
            super().shutdown()

    def check(self, now: float) -> None:
        """Close the connection if its client has kept it waiting for too long; now: seconds of a clock that is not set."""
        wait = self._awaited()
        if wait is None or self._wait is None or wait.progress != self._wait.progress:
            self._wait, self._waits_since = wait, now
        elif now - self._waits_since >= wait.seconds:
            wait.end()

    def _awaited(self) -> _Wait | None:
        """Return what the client has to do next, None while it is the server's turn."""
        held = self.transport.get_write_buffer_size()
        if held:
            unsent = unsent_bytes(self.transport.get_extra_info("socket").fileno())
            return _Wait(("take", held, unsent), self._limits.stalled_seconds, self.transport.abort)
        if self._is_refused:
            return _Wait(("take note",), self._limits.refused_seconds, self.transport.abort)
        if self.cycle is not None and not self.cycle.response_complete:
            return self._awaited_body(self.cycle)
        if self.scope is None or "method" not in self.scope:
            return self._awaited_head()
        return _Wait(("ask", self._delivered), self._limits.idle_seconds, self.transport.close)

    def _awaited_body(self, cycle: RequestResponseCycle) -> _Wait | None:
        if not cycle.more_body or cycle.response_started or cycle.waiting_for_100_continue or self.flow.read_paused:
            return None
        return _Wait(
            ("send", self._delivered, self._undelivered),
            self._limits.stalled_seconds,
            lambda: self._refuse_unfinished(late_body(self._limits)),
        )

    def _awaited_head(self) -> _Wait:
        if isinstance(self.app, Refusal):
            return _Wait(("head",), self._limits.refused_seconds, self.transport.close)
        if self.scope is None:
            # A browser opens connections that it may never need: they end without a word.
            return _Wait(("head", self._delivered), self._limits.head_seconds, self.transport.close)
        return _Wait(
            ("head", self._delivered),
            self._limits.head_seconds,
            lambda: self._refuse_unfinished(late_head(self._limits)),
        )

    def _too_large(self) -> Refusal | None:
        """Return the refusal of a head of which this much is too much."""
        if len(self.url) > self._limits.target_bytes:
            return long_target(self._limits)
        if header_bytes(self.headers) > self._limits.header_bytes:
            return large_headers(self._limits)
        return None

    def _refuse_unfinished(self, refusal: Refusal) -> None:
        """Refuse a request of which something is missing; a response that has begun is broken off."""
        if self._is_refused or self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started or self.pipeline:
                self.transport.close()
                return
        self._refuse(refusal)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer with a refusal, and read on for a while: closed with something unread, a connection takes the answer with it."""
        is_head = self.scope is not None and self.scope.get("method") == "HEAD"
        self.transport.write(refusal.answer(self.url, self.server_state.default_headers, is_head=is_head))
        self._is_refused = True
        self.pipeline.clear()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()


def _write(cycle: RequestResponseCycle, reply: Reply) -> None:
    """Write a response. A body that cannot be had whole ends the connection, for its length has been told."""
    lines = [b"%s: %s\r\n" % header for header in (*cycle.default_headers, *reply.headers)]
    if not cycle.keep_alive:
        lines.append(b"connection: close\r\n")
    head = b"%s%s\r\n" % (STATUS_LINE[reply.status], b"".join(lines))
    body = b"" if cycle.scope["method"] == "HEAD" else reply.body
    if not isinstance(body, FileSpan):
        cycle.transport.writelines((head, body))
    elif not _write_file(cycle.transport, head, body):
        cycle.keep_alive = False
        _log.error("%r became shorter while it was being sent, the response is broken off", cycle.scope["path"])


def _complete(cycle: RequestResponseCycle) -> None:
    """Leave the cycle as uvicorn's send does after the last of a body."""
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()


def _write_file(transport: Transport, head: bytes, span: FileSpan) -> bool:
    """Send head and span, and tell whether the file had all of it; what the kernel does not take now waits in the transport."""
    sent = _send_now(transport, head, span)
    start = span.start + max(0, sent - len(head))
    if start == span.end:
        return True
    rest = _read(span._replace(start=start))
    transport.writelines((head[sent:], rest))
    return len(rest) == span.end - start


def _send_now(transport: Transport, head: bytes, span: FileSpan) -> int:
    """Return how many bytes of head and span the kernel has taken; none go past a transport that holds data or encrypts it."""
    if transport.get_write_buffer_size() or transport.get_extra_info("sslcontext") is not None:
        return 0
    sent = 0
    # The transport's own socket cannot send; this one leaves the descriptor to it.
    connection = socket.socket(fileno=transport.get_extra_info("socket").fileno())
    # A full buffer, or a client that has gone: the transport meets the same with what is left, and knows what to do.
    with suppress(OSError):
        sent = connection.send(head, _SEND_FLAGS)
        if sent == len(head):
            sent += os.sendfile(connection.fileno(), span.descriptor, span.start, span.end - span.start)
    connection.detach()
    return sent


def _read(span: FileSpan) -> bytes:
    """Return what can be read of a span."""
    with suppress(OSError):
        return os.pread(span.descriptor, span.end - span.start, span.start)
    return b""
