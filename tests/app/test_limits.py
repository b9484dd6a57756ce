"""What a client may take: each limit, the answer that says it, and that nobody within the limits meets one."""

import contextlib
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from app import server
from app.limits import Limits, allow_descriptors
from app.server import create_app

LARGE = 8 << 20
QUICK = Limits(head_seconds=0.6, stalled_seconds=0.6, idle_seconds=0.6, refused_seconds=0.6)
CORS = b"access-control-allow-origin: *\r\n"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    (folder / "file").write_bytes(b"content")
    (folder / "large").write_bytes(bytes(LARGE))
    return folder


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections are looked at ten times a second."""
    monkeypatch.setattr(server, "_CHECK_TICKS", 1)


@contextmanager
def serving(root: Path, limits: Limits) -> Iterator[server._Server]:
    """Serve in a thread; the server has its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = server._Server(create_app(root), limits, 3)
        running.port = listener.getsockname()[1]  # type: ignore[attr-defined]
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not running.started:
                time.sleep(0.005)
            yield running
        finally:
            running.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def port(root: Path) -> Iterator[int]:
    """The port of a server with the usual limits."""
    with serving(root, Limits()) as running:
        yield running.port  # type: ignore[attr-defined]


@pytest.fixture
def quick(root: Path) -> Iterator[int]:
    """The port of a server that waits for nobody longer than 0.6 s."""
    with serving(root, QUICK) as running:
        yield running.port  # type: ignore[attr-defined]


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def rest(connection: socket.socket) -> bytes:
    """Return all that comes until the server closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(1 << 20):
            received += data
    return received


def conversation(port: int, *pieces: bytes) -> bytes:
    """Send pieces one by one, as long as the server takes them, and return what comes back."""
    with connect(port) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                connection.sendall(piece)
        return rest(connection)


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def request(target: bytes = b"/data/file", *headers: bytes, method: bytes = b"GET") -> bytes:
    lines = [b"%s %s HTTP/1.1" % (method, target), b"Host: localhost", *headers, b"Connection: close"]
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def with_header_bytes(count: int, target: bytes = b"/data/file") -> bytes:
    """Return a request whose header lines have so many bytes."""
    missing = count - len(b"Host: localhost\r\nConnection: close\r\nX: \r\n")
    return request(target, b"X: " + b"x" * missing)


HEADERS = Limits().header_bytes
TARGET = Limits().target_bytes
TOO_MUCH = b"The headers of a request have at most 32768 bytes here.\n"
TOO_LONG = b"The path and query of a request have at most 8192 bytes here.\n"


def test_the_limits_are_those_of_the_documentation() -> None:
    assert (HEADERS, TARGET) == (32 << 10, 8 << 10)
    assert (Limits().head_seconds, Limits().stalled_seconds, Limits().connections) == (20, 60, 1000)


# Sizes --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1 << 20, 1000])
def test_headers_within_the_limit(port: int, size: int) -> None:
    assert conversation(port, *in_pieces(with_header_bytes(HEADERS), size)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("size", [1 << 20, 1000])
@pytest.mark.parametrize("count", [HEADERS + 1, 60_000, 1 << 20])
def test_headers_above_the_limit(port: int, count: int, size: int) -> None:
    head, _, body = conversation(port, *in_pieces(with_header_bytes(count), size)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ")
    assert body == TOO_MUCH
    assert CORS in head + b"\r\n"
    assert b"connection: close" in head


def test_many_small_headers_count_too(port: int) -> None:
    assert conversation(port, request(b"/data/file", *[b"a: b"] * 8000)).startswith(b"HTTP/1.1 431 ")


def test_a_target_within_the_limit(port: int) -> None:
    assert conversation(port, request(b"/data/file?" + b"x" * (TARGET - 11))).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("size", [1 << 20, 1000])
@pytest.mark.parametrize("count", [TARGET + 1, 70_000])
def test_a_target_above_the_limit(port: int, count: int, size: int) -> None:
    sent = request(b"/data/" + b"x" * (count - 6))
    head, _, body = conversation(port, *in_pieces(sent, size)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 414 ")
    assert body == TOO_LONG
    assert CORS in head + b"\r\n"


def test_only_files_of_datasets_are_told_to_other_pages(port: int) -> None:
    assert CORS not in conversation(port, with_header_bytes(HEADERS + 1, b"/api/datasets"))
    assert CORS in conversation(port, with_header_bytes(HEADERS + 1, b"/flat/v/info"))


def test_head_gets_no_body(port: int) -> None:
    answer = conversation(port, request(b"/data/" + b"x" * TARGET, method=b"HEAD"))
    assert answer.startswith(b"HTTP/1.1 414 ")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("begin", "more", "status"),
    [
        (b"GET /data/", b"x" * 1000, b"414"),
        (b"GET /data/file HTTP/1.1\r\nX: ", b"x" * 1000, b"431"),
        (b"GET /data/file HTTP/1.1\r\n", b"a: b\r\n" * 100, b"431"),
        (b"", b"\r\n" * 500, b"431"),
        # Behind a body in pieces, where the server has begun to wait for its end.
        (b"PUT /api/uploads/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
         b"Content-Type: application/octet-stream\r\n\r\n0\r\n", b"a: b\r\n" * 100, b"431"),
        (b"PUT /api/uploads/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
         b"Content-Type: application/octet-stream\r\n\r\n1;", b"x" * 1000, b"431"),
    ],
    ids=["target", "header", "headers", "empty lines", "trailers", "chunk extension"],
)  # fmt: skip
def test_what_never_ends_is_refused(port: int, begin: bytes, more: bytes, status: bytes) -> None:
    answer = conversation(port, begin, *[more] * 2000)
    assert answer.startswith(b"HTTP/1.1 %s " % status)


def test_an_earlier_request_is_answered_whole(port: int) -> None:
    earlier = b"GET /data/large HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = conversation(port, earlier + with_header_bytes(HEADERS + 1))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(TOO_MUCH)
    assert len(answer) > LARGE


def test_what_is_no_http(port: int) -> None:
    head, _, body = conversation(port, b"nonsense\r\n\r\n").partition(b"\r\n\r\n")
    assert (head[:13], body) == (b"HTTP/1.1 400 ", b"This is no HTTP request.\n")
    assert CORS in head + b"\r\n"


# Times --------------------------------------------------------------------------------------------------------------------------


def test_a_head_that_does_not_come(quick: int) -> None:
    head, _, body = conversation(quick, b"GET /data/file HTTP/1.1\r\nHo").partition(b"\r\n\r\n")
    assert (head[:13], body) == (b"HTTP/1.1 408 ", b"The head of a request has to come within 0.6 seconds.\n")
    assert CORS in head + b"\r\n"


def test_a_head_that_comes_byte_by_byte(quick: int) -> None:
    with connect(quick) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for byte in in_pieces(request(), 1):
                connection.sendall(byte)
                time.sleep(0.05)
        assert rest(connection).startswith(b"HTTP/1.1 408 ")


def test_a_connection_on_which_nothing_is_asked_ends_without_a_word(quick: int) -> None:
    assert conversation(quick) == b""


def test_a_connection_that_is_kept_for_nothing_ends(quick: int) -> None:
    answer = conversation(quick, b"GET /data/file HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.endswith(b"content")


def upload(length: int) -> bytes:
    headers = (b"Content-Type: application/octet-stream", b"Content-Length: %d" % length)
    return request(b"/api/uploads/some", *headers, method=b"PUT")


def test_a_body_that_stops(quick: int, root: Path) -> None:
    head, _, body = conversation(quick, upload(100) + b"x" * 10).partition(b"\r\n\r\n")
    assert (head[:13], body) == (b"HTTP/1.1 408 ", b"Nothing of the request's body came for 0.6 seconds.\n")
    assert b'"offset":10' in conversation(quick, request(b"/api/uploads/some"))


def test_a_body_that_comes_slowly(quick: int) -> None:
    with connect(quick) as connection:
        connection.sendall(upload(20))
        for _ in range(20):
            time.sleep(0.1)
            connection.sendall(b"x")
        assert rest(connection).startswith(b"HTTP/1.1 201 ")


def small_window(port: int) -> socket.socket:
    """Return a connection whose client's system takes little of what it does not read."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port))
    connection.settimeout(30)
    return connection


def test_a_client_that_takes_nothing(root: Path) -> None:
    with serving(root, QUICK) as running, small_window(running.port) as connection:  # type: ignore[attr-defined]
        connection.sendall(request(b"/data/large"))
        assert connection.recv(12) == b"HTTP/1.1 200"
        end = time.monotonic() + 30
        while running.server_state.connections:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert len(rest(connection)) < LARGE


def test_a_client_that_takes_little_at_a_time(quick: int) -> None:
    with small_window(quick) as connection:
        connection.sendall(request(b"/data/large"))
        received = 0
        begun = time.monotonic()
        while data := connection.recv(1 << 16):
            received += len(data)
            if time.monotonic() - begun < 3 * QUICK.stalled_seconds:
                time.sleep(0.2)
    assert received > LARGE


def test_an_event_stream_lasts(quick: int) -> None:
    with connect(quick) as connection:
        connection.sendall(b"GET /events/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = connection.recv(1 << 16)
        time.sleep(3 * QUICK.stalled_seconds)
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            rest(connection)
    assert received.startswith(b"HTTP/1.1 200 ")


# Connections --------------------------------------------------------------------------------------------------------------------


def test_connections_above_the_limit_are_told(root: Path) -> None:
    kept = b"GET /data/file HTTP/1.1\r\nHost: localhost\r\n\r\n"
    limits = Limits(connections=3, spare_connections=2)
    with serving(root, limits) as running, contextlib.ExitStack() as stack:
        port: int = running.port  # type: ignore[attr-defined]
        served = [stack.enter_context(closing(connect(port))) for _ in range(3)]
        for connection in served:
            connection.sendall(kept)
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        head, _, body = conversation(port, request()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert body == b"This server has at most 3 connections at a time, try again in a moment.\n"
        assert CORS in head + b"\r\n"
        assert b"retry-after: 1" in head
        assert CORS not in conversation(port, request(b"/api/datasets"))
        served.pop().close()
        while (answer := conversation(port, request())).startswith(b"HTTP/1.1 503 "):
            time.sleep(0.01)
        assert answer.startswith(b"HTTP/1.1 200 ")


def test_a_crowd_is_not_waited_for(root: Path) -> None:
    limits = replace(Limits(), connections=3, spare_connections=2, refused_seconds=60)
    with serving(root, limits) as running, contextlib.ExitStack() as stack:
        port: int = running.port  # type: ignore[attr-defined]
        for _ in range(5):
            stack.enter_context(closing(connect(port)))
        # Only now, when all are there for certain: connections are taken in their order.
        assert conversation(port).startswith(b"HTTP/1.1 503 ")


DESCRIPTORS = """
import resource, sys
from app.server import _limits
from app.logs import LogSettings, set_up
from converters.options import ServeOptions
soft, hard = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
_limits(ServeOptions(max_connections=100))
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(("soft", "hard", "allowed"), [(64, 2000, 968), (64, 500, 500)])
def test_a_process_may_open_as_many_files_as_its_connections_need(soft: int, hard: int, allowed: int) -> None:
    command = [sys.executable, "-c", DESCRIPTORS, str(soft), str(hard)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert ended.stdout == f"{allowed}\n"
    warned = "this system lets a process have 500 open files, 100 connections may need 968: raise the limit"
    assert (warned in ended.stderr) == (allowed == 500)


def test_no_process_may_open_fewer_files_than_before() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert allow_descriptors(10) == 10
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
