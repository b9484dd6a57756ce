"""The server as a whole: what it answers, addresses, several processes, and how it ends."""

import asyncio
import http.client
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import psutil
import pytest
from starlette.requests import Request

from app import server
from app.server import create_app, running, serve
from converters.errors import OptionError, WorkerError
from converters.options import ServeOptions

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from pathlib import Path
from app import server
from converters.options import ServeOptions

if __name__ == "__main__":
    server._EARLY_SECONDS = 0
    options = ServeOptions(port=0, workers=int(sys.argv[2]))
    server.serve(Path(sys.argv[1]), options, lambda url: print(url, flush=True))
    print("stopped", flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "served" / "v").mkdir(parents=True)
    (tmp_path / "served" / "v" / "file").write_bytes(b"content")
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path / "served"


def test_data_pages_and_health_are_one_site(folder: Path) -> None:
    with running(create_app(folder)) as url, httpx.Client(base_url=url, trust_env=False) as client:
        assert client.get("/data/v/file").content == b"content"
        assert (client.get("/healthz").text, client.get("/healthz").headers["cache-control"]) == ("ok\n", "no-store")
        assert client.get("/").headers["content-type"].startswith("text/html")
        assert client.get("/api/datasets").json()["root"] == "served"
        assert client.get("/v/1/").status_code == 200
        assert client.get("/database").status_code == 404
        for response in (client.get("/data"), client.get("/data/nothing"), client.get("/data/v/file")):
            assert response.headers["access-control-allow-origin"] == "*"
        for path in ("/api/datasets", "/", "/healthz", "/database"):
            assert "access-control-allow-origin" not in client.get(path).headers
        assert "server" not in client.get("/").headers


def test_links_begin_with_what_the_browser_asked_a_proxy_on_this_machine(folder: Path) -> None:
    seen = []
    app = create_app(folder)

    @app.pages.get("/seen")
    def note(request: Request) -> None:
        seen.append(str(request.base_url))

    with running(app) as url:
        httpx.get(f"{url}/seen", headers={"X-Forwarded-Proto": "https", "Host": "lab.example"}, trust_env=False)
    assert seen == ["https://lab.example/"]


@pytest.mark.parametrize(
    ("proxy", "scheme"), [("172.18.0.3", "https"), ("192.168.1.9", "https"), ("fd00::3", "https"), ("203.0.113.7", "http")]
)
def test_a_proxy_nearby_is_believed(folder: Path, proxy: str, scheme: str) -> None:
    seen = []
    app = create_app(folder)

    @app.pages.get("/seen")
    def note(request: Request) -> None:
        seen.append(str(request.base_url))

    async def ask() -> None:
        transport = httpx.ASGITransport(app=app.pages, client=(proxy, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://lab.example") as client:
            await client.get("/seen", headers={"X-Forwarded-Proto": "https"})

    asyncio.run(ask())
    assert seen == [f"{scheme}://lab.example/"]


def test_api_answers_to_the_hosts_that_it_was_told(folder: Path) -> None:
    with running(create_app(folder, frozenset({"lab.example"}))) as url:
        for host, status in (("lab.example", 200), ("evil.example", 403)):
            assert httpx.get(f"{url}/api/datasets", headers={"Host": host}, trust_env=False).status_code == status


def test_it_ends_while_viewers_listen(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with running(create_app(folder)) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        connection = http.client.HTTPConnection(host, int(port))
        connection.request("GET", "/events/1")
        stream = connection.getresponse()
        assert stream.readline() == b": idle\n"
    assert stream.read() == b"\n"
    connection.close()
    assert caplog.text == ""


def test_the_address_is_the_loopback_one(folder: Path) -> None:
    with running(create_app(folder)) as url:
        assert url.startswith("http://127.0.0.1:")
    assert ServeOptions().host == "127.0.0.1"


@pytest.mark.parametrize(
    ("host", "expected"), [("0.0.0.0", "http://127.0.0.1:"), ("localhost", "http://"), ("::1", "http://[::1]:")]
)
def test_the_url_is_one_that_a_browser_here_can_open(folder: Path, host: str, expected: str) -> None:
    try:
        socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with running(create_app(folder), host) as url:
        assert url.startswith(expected)
        assert httpx.get(f"{url}/healthz", trust_env=False).text == "ok\n"


def refuse(url: str) -> None:
    raise AssertionError(f"serves {url}")


def test_a_port_in_use_is_one_sentence(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OptionError) as told:
            serve(folder, ServeOptions(port=port), refuse)
    assert str(told.value) == (
        f"cannot listen on port {port} of 127.0.0.1: it is already in use; "
        "choose another with --port (0 takes a free one) or --host"
    )


@pytest.mark.parametrize("host", ["nowhere.invalid", "203.0.113.7"])
def test_an_address_that_is_not_this_machines_is_one_sentence(folder: Path, host: str) -> None:
    with pytest.raises(OptionError, match=rf"^cannot listen on port 0 of {host}: [A-Z][^(]+; choose another with --port"):
        serve(folder, ServeOptions(host=host, port=0), refuse)


def test_what_is_no_folder_is_not_served(folder: Path) -> None:
    with pytest.raises(OptionError, match="file is not a folder: give the folder that holds the datasets"):
        serve(folder / "v" / "file", ServeOptions(port=0), refuse)


# Processes ----------------------------------------------------------------------------------------------------------------------

Start = Callable[[int], tuple[subprocess.Popen[str], str]]


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """A function that starts a server with so many workers and gives its process and URL."""
    started: list[subprocess.Popen[str]] = []

    def start(workers: int) -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, str(folder.parent / "program.py"), str(folder), str(workers)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.communicate()


def workers_of(process: subprocess.Popen[str], count: int) -> list[psutil.Process]:
    """Return the workers once so many are there."""
    while True:
        children = psutil.Process(process.pid).children()
        workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        if len(workers) == count:
            return workers
        time.sleep(0.02)


def answers(url: str) -> bytes:
    return httpx.get(f"{url}/data/v/file", timeout=60, trust_env=False).content


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_stop(start: Start, workers: int, ending: signal.Signals) -> None:
    process, url = start(workers)
    assert answers(url) == b"content"
    children = workers_of(process, workers) if workers > 1 else []
    os.killpg(process.pid, ending) if ending == signal.SIGINT else process.send_signal(ending)
    printed, logged = process.communicate(timeout=60)
    assert (process.returncode, printed) == (0, "stopped\n")
    pids = [child.pid for child in children] or [process.pid]
    doing = ("takes requests", "takes no more requests and finishes those that it has", "has finished")
    started, *told, stopped = [line.split(" INFO app.server: ")[1] for line in logged.splitlines()]
    assert (started, stopped) == (f"the server starts at {url}, processes: {workers}", "the server has stopped")
    whole = {pid: [f"process {pid} {what}" for what in doing] for pid in pids}
    # A worker that had not begun yet has nothing to tell.
    begun = [pid for pid in pids if whole[pid][0] in told]
    assert begun
    assert sorted(told) == sorted(line for pid in begun for line in whole[pid])
    assert not any(child.is_running() for child in children)


def test_workers_end_with_a_parent_that_is_killed(start: Start) -> None:
    process, url = start(2)
    assert answers(url) == b"content"
    children = workers_of(process, 2)
    process.kill()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []


def test_a_worker_that_dies_is_replaced(start: Start) -> None:
    process, url = start(2)
    before = workers_of(process, 2)
    assert answers(url) == b"content"
    before[0].kill()
    before[0].wait(60)
    while before[0] in workers_of(process, 2):
        time.sleep(0.02)
    assert answers(url) == b"content"
    process.terminate()
    _, logged = process.communicate(timeout=60)
    assert "a server process ended with status -9; another one takes its place" in logged


class _Broken:
    listener = SimpleNamespace(close=lambda: None)

    def run_as_worker(self) -> None:
        raise SystemExit(3)


def test_workers_that_cannot_start_are_an_error() -> None:
    with pytest.raises(WorkerError, match="a server process ended with status 3 as soon as it was started"):
        server._keep_running(_Broken(), 2)  # type: ignore[arg-type]
