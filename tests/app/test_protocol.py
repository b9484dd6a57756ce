"""What is answered at once is what a call sends, byte for byte, and connections stay in step."""

import http.client
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from app.data import data_app
from app.protocol import AtOnceProtocol

BODY = bytes(range(256)) * 400


@contextmanager
def serving(root: Path, protocol: type[AtOnceProtocol] | str) -> Iterator[int]:
    server = uvicorn.Server(
        uvicorn.Config(data_app(root), port=0, http=protocol, log_level="warning", lifespan="off", proxy_headers=False)
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


def test_no_file_is_left_open(ports: tuple[int, int], root: Path) -> None:
    for request in REQUESTS:
        conversation(ports[0], request)
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    assert [link for link in links if os.path.lexists(link) and os.readlink(link).startswith(str(root))] == []
