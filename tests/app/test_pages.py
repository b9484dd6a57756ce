"""The web page and its API, on a real socket."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

import httpx
import pytest
import uvicorn

from app.pages import pages_app

SCALE = {
    "key": "8_8_40", "size": [100, 200, 30], "resolution": [8, 8, 40], "chunk_sizes": [[64, 64, 64]], "encoding": "raw"
}  # fmt: skip
INFO = {"type": "image", "data_type": "uint8", "num_channels": 1, "scales": [SCALE]}
PICTURE = b"\x89PNG\r\n\x1a\nnot really"


def make_dataset(folder: Path, info: object = INFO) -> None:
    (folder / ".glassine").mkdir(parents=True)
    (folder / "info").write_text(json.dumps(info))
    (folder / ".glassine" / "thumbnail.png").write_bytes(PICTURE)


@contextmanager
def served(app: object) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))  # type: ignore[arg-type]
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    make_dataset(folder / "lab one" / "em <b>")
    make_dataset(folder / "broken", {**INFO, "data_type": "float64"})
    make_dataset(folder.parent / "outside")
    return folder


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[httpx.Client]:
    with served(pages_app(root, frozenset({"scans.lab.example"}))) as url, httpx.Client(base_url=url) as opened:
        yield opened


def test_the_first_page_and_all_that_it_loads_come_from_here(client: httpx.Client):
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for path, content_type in (("page.css", "text/css"), ("page.js", "text/javascript"), ("icon.svg", "image/svg+xml")):
        assert f"/static/{path}" in page.text
        part = client.get(f"/static/{path}")
        assert part.status_code == 200
        assert part.headers["content-type"].startswith(content_type)
        assert "://" not in part.text.replace("http://www.w3.org/2000/svg", "")
    assert "://" not in page.text
    assert client.get("/favicon.ico").status_code == 200


def test_the_list_of_datasets(client: httpx.Client, root: Path):
    answer = client.get("/api/datasets")
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    body = answer.json()
    assert body["root"] == root.name
    assert body["complete"] is True
    broken, dataset = body["datasets"]
    assert broken["name"] == "broken"
    assert "float64" in broken["error"]
    assert broken["link"] is None
    assert dataset["name"] == "lab one/em <b>"
    assert dataset["error"] is None
    assert (dataset["type"], dataset["data_type"], dataset["encoding"]) == ("image", "uint8", "raw")
    assert (dataset["shape"], dataset["voxel_size"]) == ([100, 200, 30], [8, 8, 40])
    assert dataset["scales"] == [{"key": "8_8_40", "size": [100, 200, 30], "resolution": [8, 8, 40], "chunk_size": [64, 64, 64]}]


def test_the_bytes_on_disk_are_told_as_soon_as_they_are_counted(client: httpx.Client, root: Path):
    folder = root / "lab one" / "em <b>"
    for _ in range(500):
        size = client.get("/api/datasets").json()["datasets"][1]["bytes"]
        if size is not None:
            break
        time.sleep(0.01)
    assert size == (folder / "info").stat().st_size + len(PICTURE)


def test_a_link_leads_to_where_the_list_was_asked_for(client: httpx.Client):
    for host in ("localhost:1234", "scans.lab.example"):
        link = client.get("/api/datasets", headers={"Host": host}).json()["datasets"][1]["link"]
        address, fragment = link.split("#!")
        assert address == f"http://{host}/v/glassine/"
        (layer,) = json.loads(unquote(fragment))["layers"]
        assert layer["source"]["url"] == f"precomputed://http://{host}/data/lab%20one/em%20%3Cb%3E"


def test_datasets_are_opened_together(client: httpx.Client):
    answer = client.get("/api/link", params={"name": ["lab one/em <b>", "lab one/em <b>"]})
    assert answer.status_code == 200
    layers = json.loads(unquote(answer.json()["link"].split("#!")[1]))["layers"]
    assert len(layers) == 2


@pytest.mark.parametrize(("name", "status"), [("nothing", 404), ("../outside", 404), ("broken", 422)])
def test_no_link_to_what_cannot_be_opened(client: httpx.Client, name: str, status: int):
    answer = client.get("/api/link", params={"name": name})
    assert answer.status_code == status
    assert "detail" in answer.json()


def test_the_small_picture(client: httpx.Client):
    url = client.get("/api/datasets").json()["datasets"][1]["thumbnail"]
    answer = client.get(url)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert answer.content == PICTURE


@pytest.mark.parametrize("name", ["../outside", "..%2Foutside", "nothing", "lab one", "lab one/em <b>/.glassine", "%00", "/etc"])
def test_no_other_file_is_given_out_as_a_picture(client: httpx.Client, name: str):
    for text in (name, quote(name, safe="")):
        assert client.get(f"/api/thumbnails?name={text}").status_code == 404


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "localhost", "glassine.localhost:80", "[::1]:8080", "scans.lab.example:8080", "127.8.9.1"]
)
def test_the_api_answers_to_this_machines_names(client: httpx.Client, host: str):
    assert client.get("/api/datasets", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/api/datasets", "/api/link?name=a", "/api/thumbnails?name=a"])
@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "192.168.1.7", "", "[", "a:b:c"],
)
def test_the_api_answers_to_no_other_name(client: httpx.Client, path: str, host: str):
    answer = client.get(path, headers={"Host": host})
    assert answer.status_code in (400, 403)
    assert "em <b>" not in answer.text


def test_a_page_of_another_site_may_not_use_the_api(client: httpx.Client):
    for origin in ("https://evil.example", "null", str(client.base_url).replace("127.0.0.1", "127.0.0.2")):
        answer = client.get("/api/datasets", headers={"Origin": origin})
        assert answer.status_code == 403
        assert "may not use" in answer.json()["detail"]
    assert client.get("/api/datasets", headers={"Origin": str(client.base_url).rstrip("/")}).status_code == 200


def test_a_server_that_listens_everywhere_answers_to_every_address_but_not_to_every_name(root: Path):
    with served(pages_app(root, frozenset({"0.0.0.0"}))) as url, httpx.Client(base_url=url) as client:
        assert client.get("/api/datasets", headers={"Host": "192.168.1.7:8080"}).status_code == 200
        assert client.get("/api/datasets", headers={"Host": "[fe80::1]:8080"}).status_code == 200
        refused = client.get("/api/datasets", headers={"Host": "evil.example"})
        assert refused.status_code == 403
        assert "GLASSINE_HOSTS" in refused.json()["detail"]
