"""uvicorn's HTTP protocol for an application that can answer some requests at once.

Most chunks lie in the page cache. For them a task, ASGI's messages, copies of the body and two writes, which are two packets of
which the first wakes the client up for nothing, cost more than all the rest: what can be answered without waiting is answered
where the request has been parsed, and a file goes from the page cache to the socket by sendfile(2). On loopback that is twice as
many chunks a second.
"""

import logging
import os
import socket
from asyncio import Transport
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

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


class AtOnceProtocol(HttpToolsProtocol):
    """HttpToolsProtocol that makes use of an application that AnswersAtOnce; for others it is the same."""

    _started: RequestResponseCycle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """End the serving of a connection."""
        # uvicorn tells the last request's cycle alone, but when several came together an earlier one is being answered.
        if self._started is not None:
            self._started.disconnected = True
            self._started.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._started = cycle
        if self.transport.is_closing():
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
