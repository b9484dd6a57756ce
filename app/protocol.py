"""uvicorn's HTTP protocol with one ASGI extension: a response that is complete goes out in one write.

By ASGI's two messages uvicorn writes head and body one after the other, two system calls and two packets of which the first wakes
the client up for nothing, and it looks for forbidden characters in every header: a third of the chunks a second went there.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

WHOLE_RESPONSE = "glassine.whole_response"
"""The key in scope["extensions"] of {"write": WriteWhole}; where it is absent, send does the same."""

Headers = Iterable[tuple[bytes, bytes]]
WriteWhole = Callable[[int, Headers, bytes | bytearray], None]
"""Called with status, headers and body instead of send. The headers tell the body's length and hold nothing from the request."""


class WholeResponseProtocol(HttpToolsProtocol):
    """HttpToolsProtocol that offers WHOLE_RESPONSE."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # Where data still waits in the transport it is left to uvicorn's send, which waits until that has gone.
        if not self.flow.write_paused:
            cycle.scope["extensions"] = {WHOLE_RESPONSE: {"write": partial(_write_whole, cycle)}}
        super()._start_asgi_task(cycle, app)


def _write_whole(
    cycle: RequestResponseCycle, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes | bytearray
) -> None:
    """Write a response and leave the cycle as uvicorn's send does after the last of a body."""
    if cycle.disconnected:
        return
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    lines = [b"%s: %s\r\n" % header for header in (*cycle.default_headers, *headers)]
    if not cycle.keep_alive:
        lines.append(b"connection: close\r\n")
    head = b"%s%s\r\n" % (STATUS_LINE[status], b"".join(lines))
    cycle.transport.writelines((head, b"" if cycle.scope["method"] == "HEAD" else body))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
