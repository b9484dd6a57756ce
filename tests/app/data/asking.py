"""A served folder on a real socket, asked byte by byte as no client library would."""

import gzip
import http.client
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import brotli

_DECODERS: dict[str | None, Callable[[bytes], bytes]] = {None: bytes, "gzip": gzip.decompress, "br": brotli.decompress}


@dataclass(frozen=True)
class Answer:
    """One response as it came over the wire."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def decoded(self) -> bytes:
        """The body as it was before it was packed; that of an answer to HEAD is empty."""
        return _DECODERS[self.headers["Content-Encoding"]](self.body) if self.body else b""


@dataclass(frozen=True)
class Served:
    """A server and the folder that it serves."""

    url: str
    root: Path

    def connect(self) -> socket.socket:
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return socket.create_connection((host, int(port)), timeout=30)

    def ask(self, target: str | bytes, method: str = "GET", **headers: str) -> Answer:
        """Send one request for exactly this target; headers have underscores for hyphens."""
        with self.connect() as connection:
            connection.sendall(request_bytes(target, method, Connection="close", **headers))
            return read_answer(connection, method)

    @contextmanager
    def line(self) -> Iterator["Line"]:
        """Keep one connection for many requests."""
        line = Line(self)
        try:
            yield line
        finally:
            line.close()

    def get(self, name: str, **headers: str) -> Answer:
        """Ask for a file of the dataset lab/vol."""
        return self.ask(f"/data/lab/vol/{name}", **headers)


class Line:
    """A connection that is kept as long as the server keeps it."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._connection: socket.socket | None = None

    def ask(self, target: str | bytes, method: str = "GET", **headers: str) -> Answer:
        """Send one request; see Served.ask. Raises http.client.IncompleteRead when the answer is broken off."""
        if self._connection is None:
            self._connection = self._served.connect()
        try:
            self._connection.sendall(request_bytes(target, method, **headers))
            answer = read_answer(self._connection, method)
        except BaseException:
            self.close()
            raise
        if answer.headers["Connection"] == "close":
            self.close()
        return answer

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def request_bytes(target: str | bytes, method: str, **headers: str) -> bytes:
    """Return the head of a request, with nothing in it that is not named; headers have underscores for hyphens."""
    raw = target if isinstance(target, bytes) else target.encode()
    lines = [f"{name.replace('_', '-')}: {value}\r\n".encode("latin-1") for name, value in headers.items()]
    return b"%s %s HTTP/1.1\r\nHost: here\r\n%s\r\n" % (method.encode(), raw, b"".join(lines))


def read_answer(connection: socket.socket, method: str = "GET") -> Answer:
    """Read one response. Raises http.client.IncompleteRead when it is broken off."""
    response = http.client.HTTPResponse(connection, method=method)
    try:
        response.begin()
        return Answer(response.status, response.headers, response.read())
    finally:
        response.close()


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
