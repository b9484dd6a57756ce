"""From another origin and with a forged Host no request to /api reads, starts or deletes anything."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import httpx
import pytest

from app.jobs.guard import _LARGEST_JSON, _limited
from app.pages import pages_app
from app.server import create_app, running
from tests.app.jobs.conftest import write_scan

STRANGE = {
    "another origin": {"Origin": "https://evil.example"},
    "no origin": {"Origin": "null"},
    "another port": {"Origin": "http://127.0.0.1:1"},
    "another scheme": {"Origin": "ftp://HOST"},
    "its own origin with a name behind": {"Origin": "http://HOST.evil.example"},
    "another site that hides its origin": {"Sec-Fetch-Site": "cross-site"},
    "another port of the same site": {"Sec-Fetch-Site": "same-site"},
    "a forged Host": {"Host": "evil.example"},
    "a name that begins like ours": {"Host": "localhost.evil.example"},
    "a forged Host with its own Origin": {"Host": "evil.example", "Origin": "http://evil.example"},
    "an address of the network": {"Host": "192.168.1.7"},
    "no host": {"Host": ""},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    write_scan(folder / "scan.nii.gz")
    return folder


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[httpx.Client]:
    """A server that has a failed job and an upload."""
    with running(create_app(root)) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as opened:
        headers = {"Content-Type": "application/octet-stream"}
        assert opened.put("/api/uploads/mine", content=b"secret", headers=headers).status_code == 201
        body = {"command": "convert", "options": {"source": "none.nii", "dataset": "x"}}
        assert opened.post("/api/jobs", json=body).status_code == 201
        while opened.get("/api/jobs/1").json()["state"] != "failed":
            pass
        yield opened


BODIES = {
    "POST": (
        {"Content-Type": "application/json"},
        b'{"command": "convert", "options": {"source": "scan.nii.gz", "dataset": "y"}}',
    ),
    "PUT": ({"Content-Type": "application/octet-stream"}, b"other"),
}


@cache
def requests() -> list[tuple[str, str]]:
    """Return a method and path for each route below /api, and for one that is none."""
    found = {("GET", "/api/none"), ("OPTIONS", "/api/jobs"), ("POST", "/api/datasets"), ("HEAD", "/api/uploads/mine")}
    for path, operations in pages_app(Path("/nowhere")).openapi()["paths"].items():
        if path.startswith("/api"):
            found |= {(method.upper(), path.replace("{number}", "1").replace("{name}", "mine")) for method in operations}
    return sorted(found)


def state(client: httpx.Client, root: Path) -> object:
    """Return all that a request could have changed."""
    files = sorted(str(path) for path in root.rglob("*") if "jobs.sqlite" not in path.name)
    return client.get("/api/jobs").json(), client.get("/api/uploads").json(), files


@pytest.mark.parametrize("who", STRANGE)
def test_nobody_else_reads_starts_or_deletes_anything(client: httpx.Client, root: Path, who: str) -> None:
    before = state(client, root)
    own = client.base_url.netloc.decode()
    for method, path in requests():
        headers, body = BODIES.get(method, ({}, None))
        strange = {name: value.replace("HOST", own) for name, value in STRANGE[who].items()}
        answer = client.request(method, path, headers={**headers, **strange}, content=body)
        assert answer.status_code in (400, 403), f"{method} {path}"
        assert "secret" not in answer.text
        assert "none.nii" not in answer.text
        assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert state(client, root) == before


def test_routes_are_found(client: httpx.Client) -> None:
    assert {("POST", "/api/jobs"), ("DELETE", "/api/jobs/1"), ("PUT", "/api/uploads/mine"), ("GET", "/api/events")} <= set(
        requests()
    )


@pytest.mark.parametrize(
    "found",
    [
        None, "", "text/plain", "text/plain; application/json", "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x", "application/json-seq", "application/octet-stream",
    ],
)  # fmt: skip
def test_what_a_form_can_send_starts_nothing(client: httpx.Client, root: Path, found: str | None) -> None:
    before = state(client, root)
    body = b'{"command": "convert", "options": {"source": "scan.nii.gz", "dataset": "y"}}'
    for path in ("/api/jobs", "/api/plan", "/api/jobs/1/retry"):
        answer = client.post(path, content=body, headers={} if found is None else {"Content-Type": found})
        assert answer.status_code == 415
        assert answer.json()["detail"] == (
            f"found a body of type {(found or 'unknown').partition(';')[0]}, expected Content-Type: application/json"
        )
    if found != "application/octet-stream":
        answer = client.put("/api/uploads/mine", content=b"x", headers={} if found is None else {"Content-Type": found})
        assert answer.status_code == 415
    assert state(client, root) == before


def test_a_browser_that_asks_first_is_told_no(client: httpx.Client) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "DELETE"}
    for path in ("/api/jobs", "/api/jobs/1", "/api/uploads/mine"):
        answer = client.options(path, headers=asked)
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("found", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_may_say_so_in_its_ways(client: httpx.Client, found: str) -> None:
    assert client.post("/api/jobs", content=b"{}", headers={"Content-Type": found}).status_code == 422


def test_its_own_page_may(client: httpx.Client) -> None:
    own = {"Origin": str(client.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    assert client.get("/api/jobs", headers=own).status_code == 200
    assert client.get("/api/jobs", headers={"Sec-Fetch-Site": "none"}).status_code == 200


def test_a_body_whose_length_is_not_told_is_cut_off(client: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield b"[" * (1 << 16)

    headers = {"Content-Type": "application/json"}
    with suppress(httpx.TransportError):  # the connection may be closed while it still sends
        assert client.post("/api/jobs", content=endless(), headers=headers).status_code >= 400
    assert client.get("/api/jobs").status_code == 200

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"x" * (_LARGEST_JSON // 2 + 1), "more_body": True}

    limited = _limited(receive)
    assert asyncio.run(limited())["type"] == "http.request"
    assert asyncio.run(limited())["type"] == "http.disconnect"


def test_no_dataset_is_made_of_all_that(client: httpx.Client, root: Path) -> None:
    assert sorted(os.listdir(root)) == [".glassine", "scan.nii.gz"]


@pytest.mark.parametrize(
    "path",
    [
        "/data/.glassine/uploads/mine",
        "/data/.glassine/jobs/jobs.sqlite",
        "/data/%2eglassine/uploads/mine",
        "/flat/.glassine/uploads/mine",
    ],
)
def test_uploads_and_jobs_are_never_served_as_data(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404
