"""What a client may take of the server, and the answers that say so.

Nothing here is counted or timed for each request: a process looks at its connections once a second.
"""

import sys
from dataclasses import dataclass
from typing import NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

Header = tuple[bytes, bytes]

_CORS = ((b"access-control-allow-origin", b"*"),)
_OPEN_PATHS = (b"/data", b"/flat")


@dataclass(frozen=True)
class Limits:
    """connections: that one server process has at a time.

    target_bytes: of a request's path and query. header_bytes: of all its header lines. head_seconds: for both to come.
    stalled_seconds: in which a body or the client's taking of a response stands still. idle_seconds: between two requests.
    refused_seconds: for a client that is refused to take note of it. spare_connections: of such clients, above connections.
    """

    connections: int = 1000
    target_bytes: int = 8 << 10
    header_bytes: int = 32 << 10
    head_seconds: float = 20
    stalled_seconds: float = 60
    idle_seconds: float = 75
    refused_seconds: float = 2
    spare_connections: int = 256

    @property
    def head_bytes(self) -> int:
        """Of all that stands before a body."""
        return self.target_bytes + self.header_bytes

    @property
    def descriptors(self) -> int:
        """Of open files that a process may need: a socket and a file of each connection, and what else it has open."""
        return 2 * (self.connections + self.spare_connections) + 256


DEFAULT = Limits()


class Refusal(NamedTuple):
    """An answer behind which the connection is closed."""

    status: int
    sentence: str
    headers: tuple[Header, ...] = ()

    def answer(self, target: bytes, server_headers: list[Header], *, is_head: bool) -> bytes:
        """Return the response to a request for target, b"" where that is not known; is_head: without its body.

        It tells a page of any other origin about a limit and nothing else. The viewer takes an answer without this header for a
        file that is not there.
        """
        is_open = not target.startswith(b"/") or target.startswith(_OPEN_PATHS)
        body = self.sentence.encode()
        headers = (
            *server_headers,
            *(_CORS if is_open else ()),
            *self.headers,
            (b"cache-control", b"no-store"),
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        )
        lines = b"".join([b"%s: %s\r\n" % header for header in headers])
        return b"%s%s\r\n%s" % (STATUS_LINE[self.status], lines, b"" if is_head else body)


NOT_HTTP = Refusal(400, "This is no HTTP request.\n")


def late_head(limits: Limits) -> Refusal:
    """Return the answer to a request whose head does not come."""
    return Refusal(408, f"The head of a request has to come within {limits.head_seconds:g} seconds.\n")


def late_body(limits: Limits) -> Refusal:
    """Return the answer to a request whose body does not come."""
    return Refusal(408, f"Nothing of the request's body came for {limits.stalled_seconds:g} seconds.\n")


def long_target(limits: Limits) -> Refusal:
    """Return the answer to a request for a path and query that are too long."""
    return Refusal(414, f"The path and query of a request have at most {limits.target_bytes} bytes here.\n")


def large_headers(limits: Limits) -> Refusal:
    """Return the answer to a request with too many or too long headers."""
    return Refusal(431, f"The headers of a request have at most {limits.header_bytes} bytes here.\n")


def crowded(limits: Limits) -> Refusal:
    """Return the answer to a client that there is no room for."""
    sentence = f"This server has at most {limits.connections} connections at a time, try again in a moment.\n"
    return Refusal(503, sentence, ((b"retry-after", b"1"),))


def header_bytes(headers: list[Header]) -> int:
    """Return the bytes of header lines as they were sent, but for spaces that mean nothing."""
    return sum(len(name) + len(value) + len(b": \r\n") for name, value in headers)


if sys.platform == "linux":
    import fcntl
    import termios
    from contextlib import suppress

    def unsent_bytes(descriptor: int) -> int:
        """Return how much of what a socket was given its peer has not taken (tcp(7), SIOCOUTQ), 0 where that is not known."""
        taken = bytearray(4)
        with suppress(OSError, ValueError):  # ValueError: it is closed
            fcntl.ioctl(descriptor, termios.TIOCOUTQ, taken)
        return int.from_bytes(taken, sys.byteorder)

else:

    def unsent_bytes(descriptor: int) -> int:
        """Return 0: this system does not tell it."""
        return 0


def allow_descriptors(count: int) -> int:
    """Let this process and its children have so many open files, if the system does; return how many they may have."""
    try:
        import resource
    except ImportError:
        return count
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= count:
        return count
    allowed = count if hard == unlimited else min(count, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed
