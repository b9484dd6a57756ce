"""What is answered at once is what a call sends, byte for byte, and connections stay in step."""

import errno
import http.client
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from app.data import DataApp, body
from app.preview import previewed_app
from app.protocol import AtOnceProtocol, FileSpan

BODY = bytes(range(256)) * 400


@contextmanager
def serving(root: Path, protocol: type[AtOnceProtocol] | str) -> Iterator[int]:
    server = uvicorn.Server(
        uvicorn.Config(previewed_app(root, None), port=0, http=protocol, log_level="warning", lifespan="off", proxy_headers=False)
    )  # type: ignore[arg-type]
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    (folder / "file").write_bytes(BODY)
    (folder / "large").write_bytes(BODY * 30)
    return folder


@pytest.fixture(scope="module")
def ports(root: Path) -> Iterator[tuple[int, int]]:
    """The same folder behind this protocol and behind uvicorn's own."""
    with serving(root, AtOnceProtocol) as ours, serving(root, "httptools") as plain:
        yield ours, plain


def conversation(port: int, sent: bytes) -> bytes:
    """Return all that comes back until the server closes, without the time of day."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(sent)
        received = b""
        while data := connection.recv(1 << 20):
            received += data
    return re.sub(rb"\r\ndate: [^\r]*", b"", received)


def open_files(root: Path) -> list[str]:
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    return [link for link in links if os.path.lexists(link) and os.readlink(link).startswith(str(root))]


REQUESTS = [
    b"GET /data/file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /data/file HTTP/1.0\r\n\r\n",
    b"HEAD /data/file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /data/file HTTP/1.1\r\nHost: x\r\nRange: bytes=3-9\r\nConnection: close\r\n\r\n",
    b"GET /data/file HTTP/1.1\r\nHost: x\r\nRange: bytes=999999-\r\nConnection: close\r\n\r\n",
    b"GET /data/file HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\nConnection: close\r\n\r\n",
    b"GET /data/nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"HEAD /data/nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"POST /data/file HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
    b"POST /data/file HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
    b"OPTIONS /data/file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /data/large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
]


@pytest.mark.parametrize("request_bytes", REQUESTS)
def test_an_answer_at_once_is_what_a_call_sends(ports: tuple[int, int], request_bytes: bytes) -> None:
    ours, plain = (conversation(port, request_bytes) for port in ports)
    assert ours == plain
    assert ours.startswith(b"HTTP/1.1 ")


def test_requests_sent_at_once_are_answered_in_order(ports: tuple[int, int]) -> None:
    names = [b"file", b"nothing", b"large", b"file", b"large", b"file"] * 4
    sent = b"".join(b"GET /data/%s HTTP/1.1\r\nHost: x\r\n\r\n" % name for name in names)
    last = b"GET /data/file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    ours, plain = (conversation(port, sent + last) for port in ports)
    assert ours == plain
    assert len(re.findall(rb"HTTP/1.1 (?:200|404) ", ours)) == len(names) + 1


def test_what_is_in_memory_takes_no_call(ports: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*arguments: Any) -> None:
        raise AssertionError("a call was made")

    requests = REQUESTS[:3] + REQUESTS[5:8]
    for request in requests:
        conversation(ports[0], request)
    monkeypatch.setattr(DataApp, "__call__", refuse)
    for request in requests:
        assert not conversation(ports[0], request).startswith(b"HTTP/1.1 500")


# sendfile(2) --------------------------------------------------------------------------------------------------------------------

real_send, real_sendfile = socket.socket.send, os.sendfile


def some(out: int, descriptor: int, offset: int, count: int) -> int:
    return real_sendfile(out, descriptor, offset, min(count, 1000))


def would_wait(out: int, descriptor: int, offset: int, count: int) -> int:
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def fails(*arguments: Any) -> int:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def forbidden(*arguments: Any) -> int:
    raise AssertionError("this went past the transport")


@pytest.fixture
def cached(monkeypatch: pytest.MonkeyPatch) -> None:
    """All files are in memory, whatever the system can tell."""
    monkeypatch.setattr(body, "_is_cached", lambda *arguments: True)


@pytest.mark.parametrize("sendfile", [some, would_wait, fails])
@pytest.mark.usefixtures("cached")
def test_what_the_kernel_does_not_take_at_once_follows(
    ports: tuple[int, int], monkeypatch: pytest.MonkeyPatch, sendfile: Callable[[int, int, int, int], int]
) -> None:
    names = [b"file", b"nothing", b"file", b"large", b"file"]
    sent = b"".join(b"GET /data/%s HTTP/1.1\r\nHost: x\r\n\r\n" % name for name in names) + REQUESTS[0]
    expected = conversation(ports[1], sent)
    monkeypatch.setattr(os, "sendfile", sendfile)
    assert conversation(ports[0], sent) == expected


@pytest.mark.parametrize("taken", [0, 9])
@pytest.mark.usefixtures("cached")
def test_a_head_that_the_kernel_does_not_take_whole_is_completed(
    ports: tuple[int, int], monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    def partial_send(connection: socket.socket, data: bytes, flags: int) -> int:
        return real_send(connection, data[:taken], flags)

    expected = conversation(ports[1], REQUESTS[0])
    monkeypatch.setattr(os, "sendfile", forbidden)
    monkeypatch.setattr(socket.socket, "send", partial_send)
    assert conversation(ports[0], REQUESTS[0]) == expected


@pytest.mark.usefixtures("cached")
def test_a_slow_client_gets_every_byte_in_order(ports: tuple[int, int]) -> None:
    sent = b"GET /data/file HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", ports[0]))
        connection.settimeout(30)
        # One behind the other, so that none is queued by the protocol, and so fast that the socket is full most of the time.
        for _ in range(60):
            connection.sendall(sent)
            time.sleep(0.001)
        connection.sendall(REQUESTS[0])
        received = b""
        while data := connection.recv(1 << 15):
            received += data
    parts = re.split(rb"HTTP/1.1 200 OK\r\n(?:[^\r]+\r\n)+\r\n", received)
    assert parts[0] == b""
    assert [len(part) for part in parts[1:]] == [len(BODY)] * 61
    assert set(parts[1:]) == {BODY}


@pytest.mark.usefixtures("cached")
def test_nothing_goes_past_a_transport_that_encrypts(root: Path, ports: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    class Encrypting:
        """A transport as that of TLS looks from here; that it sends the bytes as they are does not matter."""

        def __init__(self, transport: Any) -> None:
            self._transport = transport

        def __getattr__(self, name: str) -> Any:
            return getattr(self._transport, name)

        def get_extra_info(self, name: str, default: Any = None) -> Any:
            return object() if name == "sslcontext" else self._transport.get_extra_info(name, default)

    class Encrypted(AtOnceProtocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(Encrypting(transport))

    expected = conversation(ports[1], REQUESTS[0])
    monkeypatch.setattr(os, "sendfile", forbidden)
    with serving(root, Encrypted) as port:
        assert conversation(port, REQUESTS[0]) == expected


@pytest.mark.parametrize("left", [0, 50_000])
@pytest.mark.usefixtures("cached")
def test_a_file_that_becomes_shorter_breaks_the_response_off(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, left: int
) -> None:
    (root / "shrinking").write_bytes(BODY)
    at_once = DataApp.at_once

    def shrinking_at_once(*arguments: Any) -> Any:
        reply = at_once(*arguments)
        assert reply is not None
        assert isinstance(reply.body, FileSpan)
        os.truncate(root / "shrinking", left)
        return reply

    monkeypatch.setattr(DataApp, "at_once", shrinking_at_once)
    with serving(root, AtOnceProtocol) as port:
        received = conversation(port, b"GET /data/shrinking HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, sent = received.partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(BODY) in head
    assert sent == BODY[:left]
    assert "'/data/shrinking' became shorter while it was being sent, the response is broken off" in caplog.text


@pytest.mark.usefixtures("cached")
def test_a_file_that_cannot_be_read_while_it_is_sent_breaks_the_response_off(
    ports: tuple[int, int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os, "sendfile", some)
    monkeypatch.setattr(os, "pread", fails)
    connection = http.client.HTTPConnection("127.0.0.1", ports[0], timeout=30)
    connection.request("GET", "/data/file")
    with pytest.raises(http.client.IncompleteRead):
        connection.getresponse().read()
    connection.close()
    assert "the response is broken off" in caplog.text


@pytest.mark.usefixtures("cached")
def test_a_client_that_goes_while_files_are_sent_leaves_no_error_and_no_file(
    ports: tuple[int, int], root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(30):
        with socket.create_connection(("127.0.0.1", ports[0])) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.sendall(b"GET /data/file HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
    assert conversation(ports[0], REQUESTS[0]).endswith(BODY[-100:])
    assert caplog.text == ""
    assert open_files(root) == []


# Connections --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rest", [b"GET /data/file HTTP/1.1\r\nHost: x\r\n\r\n" * 3, b"nonsense", b"\0" * 70_000])
def test_what_comes_after_the_last_request_is_not_answered(ports: tuple[int, int], rest: bytes) -> None:
    last = b"HEAD /data/file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert conversation(ports[0], last + rest).count(b"HTTP/1.1 200 ") == 1


def test_very_many_requests_at_once_behind_a_slow_one(ports: tuple[int, int]) -> None:
    head = b"HEAD /data/file HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /data/nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    received = conversation(ports[0], b"GET /data/large HTTP/1.1\r\nHost: x\r\n\r\n" + head * 3000 + last)
    assert received.count(b"HTTP/1.1 200 ") == 3001
    assert received.endswith(b"There is nothing here.\n")


def test_a_connection_is_kept(ports: tuple[int, int]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", ports[0], timeout=30)
    connection.connect()
    assert connection.sock is not None
    first = connection.sock
    for _ in range(5):
        connection.request("GET", "/data/file")
        answer = connection.getresponse()
        read = b""
        while data := answer.read(999):
            read += data
        assert read == BODY
    assert connection.sock is first
    connection.close()


def test_clients_that_go_at_once_leave_no_error(ports: tuple[int, int], caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(30):
        with socket.create_connection(("127.0.0.1", ports[0])) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.sendall(b"GET /data/large HTTP/1.1\r\nHost: x\r\n\r\nGET /data/file HTTP/1.1\r\nHost: x\r\n\r\n")
    assert conversation(ports[0], REQUESTS[0]).endswith(BODY[-100:])
    assert caplog.text == ""


def test_a_client_that_goes_ends_the_reading_though_another_request_came_behind(
    ports: tuple[int, int], root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (root / "endless").open("wb") as file:
        file.truncate(1 << 40)
    with socket.create_connection(("127.0.0.1", ports[0])) as connection:
        connection.sendall(b"GET /data/endless HTTP/1.1\r\nHost: x\r\n\r\nGET /data/file HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"
    deadline = time.monotonic() + 60
    while open_files(root):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert caplog.text == ""


def test_no_file_is_left_open(ports: tuple[int, int], root: Path) -> None:
    for request in REQUESTS:
        conversation(ports[0], request)
    assert open_files(root) == []
