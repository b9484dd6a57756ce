"""The log of a real server: secrets of every kind are sent through every route, and none of them is in it."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.access.grants import make_grant
from app.access.tokens import link_key
from app.pages import pages_app

ROOT = Path(__file__).parents[2]
WRITE, READ = "write-s3cret-0123456789", "read-s3cret-0123456789"
OTHERS = {
    "query": "query-s3cret-0123456789",
    "header": "header-s3cret-0123456789",
    "cookie": "cookie-s3cret-0123456789",
    "body": "body-s3cret-0123456789",
    "password": "password-s3cret-0123456789",
}
EXPIRES = 4102444800
GRANT = make_grant(link_key(WRITE), "v", EXPIRES)
FORGED = f"{GRANT[:-22]}{'F0rGeD' * 3}F0rG"
FILES = ["v/info", "v/8_8_8/0-64_0-64_0-64", "v/8_8_8/64-128_0-64_0-64", "v/broken", "v", ""]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    (folder / "v" / "8_8_8").mkdir(parents=True)
    (folder / "v" / "info").write_text(json.dumps({"scales": [{"key": "8_8_8"}]}))
    (folder / "v" / "8_8_8" / "0-64_0-64_0-64").write_bytes(b"chunk")
    (folder / "v" / "broken.gz").write_bytes(b"no gzip")
    return folder


@contextmanager
def server(root: Path, *words: str) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder, and give the URL and the lines of the log, which are there when the context has ended."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GLASSINE_TOKEN": WRITE, "GLASSINE_READ_TOKEN": READ}
    command = [sys.executable, "-m", "app.entry", "serve", str(root), "--port", "0", *words]
    lines: list[str] = []
    # A file, for a pipe that nobody reads is full some time.
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"http://[^/\s]+", said)
        try:
            assert found is not None, said
            yield found[0], lines
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
            log.seek(0)
            lines += log.read().splitlines()


def routes(root: Path) -> list[tuple[str, str]]:
    """Return every method and path that there is, and some that there are not."""
    described = pages_app(root).openapi()["paths"]
    api = [
        (method.upper(), re.sub(r"\{.*?\}", "1", path))
        for path, methods in described.items()
        for method in methods
        if not path.endswith("events")  # which would last for ever
    ]
    assert len(api) > 15
    others = ["/", "/static/page.js", "/v/1/", "/docs", "/healthz", "/metrics", "/access", "/nothing", "/api/nothing", "/v/1/x"]
    files = [
        f"/{prefix}/{start}{name}" for prefix in ("data", "flat") for start in ("", f"{GRANT}/", f"{FORGED}/") for name in FILES
    ]
    reading = [(method, path) for path in (*others, *files) for method in ("GET", "POST")]
    return [*api, *reading, ("OPTIONS", f"/data/{GRANT}/v/info"), ("POST", "/state/1"), ("GET", f"/data/{WRITE}/info")]


def send_everything(url: str, root: Path) -> str:
    """Send secrets through all routes, with right and without; return the value of a session's cookie, which is one too."""
    plain = {"Accept-Encoding": "identity"}  # what cannot be unpacked is an error of the server then
    with httpx.Client(base_url=url, trust_env=False, timeout=60, headers=plain) as client:
        session = client.post("/api/session", json={"token": WRITE})
        cookie = session.cookies["glassine_session"]
        client.post("/api/session", json={"token": OTHERS["password"]})
        client.cookies.clear()
        headers = [
            {"Authorization": f"Bearer {WRITE}", "Cookie": f"glassine_session={cookie}"},
            {"Authorization": f"Bearer {READ}", "X-Token": OTHERS["header"], "Cookie": f"glassine_session={OTHERS['cookie']}"},
            {"Authorization": f"Basic {OTHERS['password']}", "Referer": f"https://x/?{OTHERS['query']}"},
        ]
        body: dict[str, Any] = {
            "command": OTHERS["body"],
            "options": {"source": f"https://{OTHERS['password']}@x/?{OTHERS['query']}"},
        }
        for method, path in routes(root):
            for chosen in headers:
                query = {"token": OTHERS["query"], "name": "v"}
                sent = {"json": body} if method == "POST" else {"content": OTHERS["body"]} if method == "PUT" else {}
                kind = {"Content-Type": "application/octet-stream"} if method == "PUT" else {}
                # A connection that a server ends after an error may be asked once more.
                with suppress(httpx.RemoteProtocolError, httpx.ReadError):
                    client.request(method, path, params=query, headers={**chosen, **kind}, **sent)
    return str(cookie)


FORMS = [
    "json",
    pytest.param("text", marks=pytest.mark.skipif(not os.environ.get("GLASSINE_SLOW"), reason="slow; GLASSINE_SLOW=1")),
]


@pytest.mark.parametrize("form", FORMS)
def test_no_secret_that_is_sent_through_any_route_is_in_the_log(root: Path, form: str) -> None:
    with server(root, "--log", form, "--log-requests", "all") as (url, lines):
        cookie = send_everything(url, root)
    log = "\n".join(lines)
    for method, path in (("GET", "/data/~/v/info"), ("POST", "/api/session"), ("GET", "/metrics"), ("GET", "/data/***/info")):
        assert f"{method} {path} " in log
    assert "'/v/broken' cannot be read" in log
    for secret in (WRITE, READ, *OTHERS.values(), cookie, cookie.rpartition(".")[2], GRANT, FORGED, "F0rGeD", "s3cret", "token="):
        assert secret not in log
    signature = GRANT.rpartition(".")[2]
    assert signature not in log
    assert signature[:8] not in log


def test_lines_of_two_processes_tell_their_beginning_work_and_end(root: Path) -> None:
    with server(root, "--log", "json", "--workers", "2") as (url, lines):
        headers = {"Authorization": f"Bearer {WRITE}"}
        wanted = {"command": "convert", "options": {"source": "none.nii", "dataset": "x"}}
        with httpx.Client(base_url=url, trust_env=False, timeout=60, headers=headers) as client:
            while "glassine_processes 2.0" not in client.get("/metrics").text:
                pass
            assert client.post("/api/jobs", json=wanted).status_code in (201, 503)
            while any(job["state"] not in ("done", "failed") for job in client.get("/api/jobs").json()["jobs"]):
                pass
            jobs = client.get("/api/jobs").json()["jobs"]
            client.get("/data/v/info")
            client.get("/api/datasets")
            assert client.get("/data/v/broken", headers={"Accept-Encoding": "identity"}).status_code == 500
    told = [json.loads(line) for line in lines]
    server_lines = [line for line in told if line["logger"] == "app.server"]
    assert server_lines[0]["message"] == f"the server starts at {url}, processes: 2"
    assert server_lines[-1]["message"] == "the server has stopped"
    assert len({line["pid"] for line in server_lines}) == 3
    assert sum(line["message"].endswith("has finished") for line in server_lines) == 2
    requests = [(line["method"], line["path"], line["status"]) for line in told if line["logger"] == "app.requests"]
    assert [request for request in requests if request[0] != "POST"] == [("GET", "/data/v/broken", 500)]
    assert len(requests) == 2
    states = [(line["job"], line["state"]) for line in told if line["logger"] == "app.jobs"]
    assert states == [(job["id"], state) for job in jobs for state in ("queued", "running", "failed")]
