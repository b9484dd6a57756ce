"""The viewer's client and the routes that it expects, on a real socket."""

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette

from app import viewer
from app.viewer import IdleStreams, client_folder, viewer_routes
from converters.errors import OptionError


class Running:
    """A server with nothing but the viewer."""

    def __init__(self) -> None:
        self.streams = IdleStreams()
        app = Starlette(routes=viewer_routes(self.streams))
        self.server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        self.url = f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    one = Running()
    yield one
    one.stop()


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url) as opened:
        yield opened


def test_the_page_and_its_parts(client: httpx.Client):
    page = client.get("/v/anything/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    parts = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(parts) > 2
    for part in parts:
        answer = client.get(f"/v/anything/{part}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].split(";")[0] in ("text/javascript", "text/css")
        # All but the script that is added to the page have names that change with what is in them.
        assert ("immutable" in answer.headers["cache-control"]) == (part != "refresh.js")
    assert "refresh.js" in parts


def test_wasm_has_the_type_that_browsers_compile_while_it_loads(client: httpx.Client):
    name = next(path.name for path in client_folder().iterdir() if path.suffix == ".wasm")
    answer = client.head(f"/v/x/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/wasm"


def test_without_the_slash_the_pages_parts_would_not_be_found(client: httpx.Client):
    answer = client.get("/v/glassine")
    assert answer.status_code == 307
    assert httpx.URL(client.base_url).join("/v/glassine").join(answer.headers["location"]).path == "/v/glassine/"


@pytest.mark.parametrize("name", ["nothing.js", "..%2f..%2f..%2f__init__.py", "%2e%2e/__init__.py", "a/b"])
def test_there_are_no_other_files(client: httpx.Client, name: str):
    assert client.get(f"/v/x/{name}").status_code == 404


@pytest.mark.parametrize("path", ["/state/x", "/action/x"])
def test_what_the_client_posts_is_taken(client: httpx.Client, path: str):
    answer = client.post(path, json={"s": {}, "g": 1})
    assert answer.status_code == 200
    assert isinstance(answer.json(), dict)


def test_the_state_is_answered_with_a_generation(client: httpx.Client):
    assert "g" in client.post("/state/x", json={}).json()


def test_the_event_stream_stays_open_and_silent(client: httpx.Client):
    with client.stream("GET", "/events/x?c=1", timeout=httpx.Timeout(5, read=0.5)) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"] == "text/event-stream"
        lines = stream.iter_lines()
        assert next(lines).startswith(":"), "a comment, so that the client knows that it is connected"
        assert next(lines) == ""
        with pytest.raises(httpx.ReadTimeout):
            next(lines)


def test_open_event_streams_do_not_keep_a_server_from_stopping():
    one = Running()
    ended = threading.Event()

    def listen() -> None:
        with httpx.stream("GET", f"{one.url}/events/x", timeout=60) as stream:
            for _ in stream.iter_lines():
                connected.set()
        ended.set()

    connected = threading.Event()
    listener = threading.Thread(target=listen)
    listener.start()
    assert connected.wait(20)
    loop = one.server.servers[0].get_loop()
    loop.call_soon_threadsafe(one.streams.close)
    one.stop()
    assert ended.wait(20), "the stream ends as a whole response, not cut off"
    listener.join(20)


def test_a_missing_client_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(viewer, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"^the viewer is not installed: pip install neuroglancer$"):
        client_folder()
