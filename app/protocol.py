"""uvicorn's HTTP protocol for an application that can answer some requests at once.

Most chunks lie in the page cache. For them a task, ASGI's messages and two writes, which are two packets of which the first wakes
the client up for nothing, cost more than reading: what can be answered without waiting is answered where the request has been
parsed, with one write. On loopback that is half as many chunks a second again.
"""

from typing import Any, NamedTuple, Protocol

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle


class Reply(NamedTuple):
    """A response that is complete; the headers tell the body's length and hold nothing from the request."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes | bytearray


class AnswersAtOnce(Protocol):
    """An ASGI application whose at_once gives the response that a call would send, or None when that takes waiting."""

    def at_once(self, scope: Scope) -> Reply | None: ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class AtOnceProtocol(HttpToolsProtocol):
    """HttpToolsProtocol that makes use of an application that AnswersAtOnce; for others it is the same."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self.transport.is_closing():
            return
        # Requests that had to queue are left to tasks, as is everything while the transport still holds data.
        is_alone = cycle is self.cycle and not self.pipeline and not self.flow.write_paused
        at_once = getattr(app, "at_once", None)
        reply = at_once(cycle.scope) if is_alone and at_once is not None else None
        if reply is None:
            super()._start_asgi_task(cycle, app)
        else:
            _write(cycle, reply)


def _write(cycle: RequestResponseCycle, reply: Reply) -> None:
    """Write a response and leave the cycle as uvicorn's send does after the last of a body."""
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    lines = [b"%s: %s\r\n" % header for header in (*cycle.default_headers, *reply.headers)]
    if not cycle.keep_alive:
        lines.append(b"connection: close\r\n")
    head = b"%s%s\r\n" % (STATUS_LINE[reply.status], b"".join(lines))
    cycle.transport.writelines((head, b"" if cycle.scope["method"] == "HEAD" else reply.body))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
