"""/docs: an example of each request, which works when it is pasted, and nothing from another host."""

import html
import json
import re
import subprocess
from pathlib import Path

import httpx
import pytest

from app.api_page import examples
from tests.app.jobs.conftest import confined, wait_until_ended, write_scan
from tests.conftest import _program

ORDER = [
    ("PUT", "/api/uploads/{name}"),
    ("GET", "/api/uploads/{name}"),
    ("GET", "/api/uploads"),
    ("GET", "/api/sources"),
    ("GET", "/api/commands"),
    ("POST", "/api/plan"),
    ("POST", "/api/jobs"),
    ("DELETE", "/api/jobs/{number}"),  # at once, so that it is cancelled
    ("POST", "/api/jobs/{number}/retry"),
    ("GET", "/api/jobs/{number}/events"),  # until it is done
    ("GET", "/api/jobs/{number}"),
    ("GET", "/api/jobs/{number}/log"),
    ("GET", "/api/jobs"),
    ("GET", "/api/events"),
    ("GET", "/api/datasets"),
    ("GET", "/api/link"),
    ("GET", "/api/thumbnails"),
    ("POST", "/api/session"),
    ("GET", "/api/session"),
    ("DELETE", "/api/session"),
    ("POST", "/api/access"),
    ("GET", "/api/access"),
    ("DELETE", "/api/uploads/{name}"),
]
"""In which the examples can be typed one after the other."""


@pytest.fixture(scope="module")
def curl() -> str:
    return _program("the test of the examples in /docs", "curl")


def test_the_page_loads_nothing_from_elsewhere(client: httpx.Client) -> None:
    answer = client.get("/docs")
    assert answer.headers["content-security-policy"].startswith("default-src 'none';")
    assert not re.search(r"<script|<link|<img|src=|@import|url\(", answer.text)
    assert re.findall(r'href="([^"]*)"', answer.text) == ["/openapi.json"]
    shown = html.unescape(answer.text)
    for (method, path), example in examples(client.get("/openapi.json").json(), str(client.base_url).rstrip("/")).items():
        assert f"<h3><code>{method} {path}</code></h3>" in shown
        assert f"<pre>{example}</pre>" in shown


def test_every_request_is_described_and_has_an_example(client: httpx.Client) -> None:
    description = client.get("/openapi.json").json()
    assert sorted(examples(description, "")) == sorted(ORDER)
    for operations in description["paths"].values():
        for operation in operations.values():
            assert operation["description"]
            assert operation["tags"]


@confined
def test_the_examples_work_when_they_are_pasted(client: httpx.Client, tmp_path: Path, curl: str) -> None:
    write_scan(tmp_path / "scan.nii.gz")
    typed = examples(client.get("/openapi.json").json(), str(client.base_url).rstrip("/"))
    for method, path in ORDER:
        command = typed[method, path]
        if path == "/api/events":
            command += " --max-time 2"  # it has no end
        done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, timeout=100, check=False)
        assert done.returncode == (28 if path == "/api/events" else 0), f"{command}: {done.stdout!r} {done.stderr!r}"
        if method == "DELETE" and path == "/api/jobs/{number}":
            assert wait_until_ended(client, json.loads(done.stdout)["id"])["state"] == "cancelled"
    assert client.get("/api/jobs/1").json()["state"] == "done"
