"""SIGTERM and Ctrl-C: what is being answered is finished, in a time; what would last for ever is ended; twice means at once."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
LARGE = 24 << 20
# Workers run the first lines too.
PROGRAM = """
import sys, time
from pathlib import Path
from app import server
from converters.options import ServeOptions

server._EARLY_SECONDS = 0
server.GRACE_SECONDS, server.END_SECONDS = int(sys.argv[3]), 1
create_app = server.create_app

def with_a_hanging_page(*arguments, **more):
    app = create_app(*arguments, **more)
    app.pages.get("/hanging")(lambda: time.sleep(600))
    return app

server.create_app = with_a_hanging_page

if __name__ == "__main__":
    options = ServeOptions(port=0, workers=int(sys.argv[2]))
    server.serve(Path(sys.argv[1]), options, lambda url: print(url, flush=True))
    print("stopped", flush=True)
"""

Start = Callable[..., tuple["subprocess.Popen[str]", int]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A function that starts a server and gives its process and port."""
    (tmp_path / "served").mkdir()
    with (tmp_path / "served" / "large").open("wb") as file:
        file.truncate(LARGE)
    (tmp_path / "program.py").write_text(PROGRAM)
    started = []

    def start(workers: int, grace: int = 60) -> tuple["subprocess.Popen[str]", int]:
        words = [str(tmp_path / "program.py"), str(tmp_path / "served"), str(workers), str(grace)]
        process = subprocess.Popen(
            [sys.executable, *words],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        return process, int(process.stdout.readline().rpartition(":")[2])

    yield start
    for process in started:
        process.kill()
        process.communicate()


def asking(port: int, path: str) -> socket.socket:
    """Return a connection on which an answer has begun; its client takes no more of it than it reads."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port))
    connection.settimeout(60)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


def rest(connection: socket.socket) -> int:
    """Return how many bytes come until the server closes."""
    count = 0
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(1 << 20):
            count += len(data)
    return count


def wait_until_refused(port: int) -> None:
    """Wait until nobody listens any more."""
    end = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(("workers", "ending"), [(1, signal.SIGINT), (2, signal.SIGTERM)])
def test_what_is_being_answered_is_finished_and_nothing_new_is_taken(start: Start, workers: int, ending: int) -> None:
    process, port = start(workers)
    with asking(port, "/data/large") as answer, asking(port, "/events/1") as viewer, asking(port, "/api/events") as page:
        process.send_signal(ending)
        wait_until_refused(port)
        rest(viewer)
        rest(page)
        assert process.poll() is None
        assert rest(answer) > LARGE
    printed, logged = process.communicate(timeout=60)
    assert (process.returncode, printed) == (0, "stopped\n")
    assert "Traceback" not in logged


def test_what_takes_too_long_is_cut(start: Start) -> None:
    process, port = start(2, grace=1)
    with asking(port, "/data/large") as answer:
        process.terminate()
        printed, _ = process.communicate(timeout=60)
        assert (process.returncode, printed) == (0, "stopped\n")
        assert rest(answer) < LARGE


@pytest.mark.parametrize(("workers", "ending"), [(1, signal.SIGTERM), (2, signal.SIGINT)])
def test_a_second_signal_ends_it_at_once(start: Start, workers: int, ending: int) -> None:
    process, port = start(workers)
    with asking(port, "/data/large") as answer:
        process.terminate()
        wait_until_refused(port)
        children = psutil.Process(process.pid).children()
        process.send_signal(ending)
        printed, logged = process.communicate(timeout=60)
        assert rest(answer) < LARGE
    assert (process.returncode, printed) == (-ending, "")
    assert "Traceback" not in logged
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []


def test_a_thread_that_hangs_does_not_keep_it(start: Start) -> None:
    process, port = start(1, grace=0)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"GET /hanging HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with asking(port, "/healthz"):
            process.terminate()
        _, logged = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "what was being answered could not be ended in time, the process ends without it" in logged
