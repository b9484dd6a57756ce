"""Uploads: whole, in parts, taken up again where a connection broke, in folders, refused."""

import http.client
import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tifffile

from app.jobs import uploads
from app.settings import JobSettings
from tests.app.jobs.conftest import Quiet, confined, served, wait_until_ended

RAW = {"Content-Type": "application/octet-stream"}
DATA = bytes(range(256)) * 5000


def put(client: httpx.Client, name: str, data: bytes, content_range: str | None = None) -> httpx.Response:
    return client.put(
        f"/api/uploads/{name}", content=data, headers={**RAW, **({"Content-Range": content_range} if content_range else {})}
    )


def place(root: Path, name: str) -> Path:
    return root / ".glassine" / "uploads" / name


def test_a_whole_file(client: httpx.Client, root: Path) -> None:
    answer = put(client, "brain.nii.gz", DATA)
    expected = {
        "name": "brain.nii.gz", "source": ".glassine/uploads/brain.nii.gz", "kind": "file",
        "offset": len(DATA), "length": len(DATA), "complete": True,
    }  # fmt: skip
    assert (answer.status_code, answer.json()) == (201, expected)
    assert place(root, "brain.nii.gz").read_bytes() == DATA
    assert client.get("/api/uploads/brain.nii.gz").json() == expected
    head = client.head("/api/uploads/brain.nii.gz").headers
    assert (head["upload-offset"], head["upload-length"], head["upload-complete"]) == (str(len(DATA)), str(len(DATA)), "?1")
    assert client.get("/api/uploads").json() == {"uploads": [expected], "limit": 64 << 30}
    assert put(client, "brain.nii.gz", b"other").status_code == 201
    assert place(root, "brain.nii.gz").read_bytes() == b"other"
    assert client.delete("/api/uploads/brain.nii.gz").status_code == 204
    assert client.get("/api/uploads").json()["uploads"] == []


def test_a_file_in_parts_is_there_when_it_is_whole(client: httpx.Client, root: Path) -> None:
    total = len(DATA)
    for start in range(0, total, 500_000):
        assert not place(root, "a").exists()
        part = DATA[start : start + 500_000]
        answer = put(client, "a", part, f"bytes {start}-{start + len(part) - 1}/{total}")
        done = start + len(part)
        assert (answer.status_code, answer.json()["offset"]) == (201 if done == total else 202, done)
        assert client.head("/api/uploads/a").headers["upload-offset"] == str(done)
    assert place(root, "a").read_bytes() == DATA
    assert not any(path.is_file() for path in (root / ".glassine" / "partial").rglob("*"))


def broken_off(client: httpx.Client, header: tuple[str, str], sent: bytes) -> int:
    """Begin an upload of a file `big`, break off its connection, and return the bytes that are there."""
    connection = http.client.HTTPConnection(client.base_url.host, client.base_url.port or 80)
    connection.putrequest("PUT", "/api/uploads/big")
    connection.putheader("Content-Type", "application/octet-stream")
    connection.putheader(*header)
    connection.endheaders(sent)
    wait_until(lambda: client.head("/api/uploads/big").headers.get("upload-offset", "0") != "0")
    connection.close()
    # It is let go as soon as the server sees that the client has gone.
    wait_until(lambda: put(client, "big", b"x", f"bytes {1 << 30}-{1 << 30}/{1 << 31}").json()["detail"].startswith("big: 1"))
    return int(client.head("/api/uploads/big").headers["upload-offset"])


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_came_before_a_connection_broke_stays(client: httpx.Client, root: Path, caplog: pytest.LogCaptureFixture) -> None:
    there = broken_off(client, ("Content-Length", str(len(DATA))), DATA[:-1000])
    assert (1 << 20) <= there < len(DATA)
    head = client.head("/api/uploads/big").headers
    assert (head["upload-length"], head["upload-complete"]) == (str(len(DATA)), "?0")
    assert put(client, "big", DATA[there:], f"bytes {there}-{len(DATA) - 1}/{len(DATA)}").status_code == 201
    assert place(root, "big").read_bytes() == DATA
    assert caplog.text == ""


def test_a_file_whose_length_was_not_told_is_gone_on_with(client: httpx.Client, root: Path) -> None:
    there = broken_off(client, ("Transfer-Encoding", "chunked"), b"%x\r\n%s\r\n" % (len(DATA), DATA))
    assert client.get("/api/uploads/big").json()["length"] is None
    rest = DATA[there:] + b"end"
    assert put(client, "big", rest, f"bytes {there}-{len(DATA) + 2}/{len(DATA) + 3}").status_code == 201
    assert place(root, "big").read_bytes() == DATA + b"end"


def test_a_part_that_does_not_follow_is_refused_and_told_what_is_there(client: httpx.Client, root: Path) -> None:
    put(client, "a", DATA[:1000], "bytes 0-999/5000")
    for content_range in ("bytes 2000-2999/5000", "bytes 500-999/5000", "bytes 1000-1999/6000"):
        answer = put(client, "a", DATA[:1000], content_range)
        assert (answer.status_code, answer.json()["offset"]) == (409, 1000)
        assert answer.json()["detail"] == "a: 1000 bytes of 5000 are there, so START is 1000 or 0"
    assert put(client, "new", b"x", "bytes 5-5/10").json()["offset"] == 0
    assert client.get("/api/uploads/new").status_code == 404
    assert put(client, "a", DATA[:2000], "bytes 0-1999/2000").status_code == 201, "from the beginning again"
    assert place(root, "a").read_bytes() == DATA[:2000]


@pytest.mark.parametrize(
    "content_range",
    ["bytes 0-9", "bytes */10", "bytes 5-4/10", "bytes 0-10/10", "items 0-9/10", "bytes -5/10", "bytes 0-9/*", "0-9/10"],
)
def test_a_range_that_is_not_understood(quiet: Quiet, content_range: str) -> None:
    answer = put(quiet.client, "a", b"0123456789", content_range)
    assert answer.status_code == 400
    assert "expected bytes START-END/TOTAL, such as bytes 0-99/1000" in answer.json()["detail"]


def test_a_body_of_another_length_than_told(client: httpx.Client, root: Path) -> None:
    assert (
        put(client, "a", b"0123456789", "bytes 0-4/5").json()["detail"] == "the body brings more than the 5 bytes that were told"
    )
    assert not place(root, "a").exists()
    assert put(client, "b", b"012", "bytes 0-4/5").status_code == 202
    assert client.get("/api/uploads/b").json()["offset"] == 3


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "../x",
        "a/../b",
        "a/./b",
        "a//b",
        "/a",
        "a/",
        ".hidden",
        "a/.glassine/b",
        "a\\b",
        "a%0Ab",
        "a%00b",
        "x" * 250,
        "/".join("a" * 20),
    ],
)
def test_names_that_lead_elsewhere_are_refused(quiet: Quiet, name: str) -> None:
    client = quiet.client
    quoted = name.replace("..", "%2e%2e").replace("/./", "/%2e/").replace("\\", "%5c")
    for answer in (put(client, quoted, b"x"), client.delete(f"/api/uploads/{quoted}"), client.get(f"/api/uploads/{quoted}")):
        assert answer.status_code in (400, 404, 405)
    assert os.listdir(quiet.root) == ["scan.nii.gz"]


def test_what_is_too_large_is_refused_before_and_while_it_comes(root: Path) -> None:
    with served(root, JobSettings(upload_limit=1000)) as client:
        said = "the file has more than the 1000 bytes that this server takes (GLASSINE_UPLOAD_LIMIT)"
        for answer in (put(client, "a", b"x" * 1001), put(client, "a", b"x", "bytes 0-0/1001")):
            assert (answer.status_code, answer.json()["detail"]) == (413, said)
        headers = {**RAW, "Transfer-Encoding": "chunked"}
        answer = client.put("/api/uploads/a", content=(b"x" * 100 for _ in range(11)), headers=headers)
        assert (answer.status_code, answer.json()["detail"]) == (413, said)
        assert client.get("/api/uploads").json()["limit"] == 1000
        assert put(client, "a", b"x" * 1000).status_code == 201


def test_what_the_disk_has_no_room_for_is_refused(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_SPARE", 1 << 62)
    answer = put(client, "a", b"x" * 10)
    assert (answer.status_code, answer.json()["detail"]) == (507, "a: the disk has room for 0 bytes more, not for all of it")


def test_two_at_once_of_one_name(client: httpx.Client) -> None:
    connection = http.client.HTTPConnection(client.base_url.host, client.base_url.port or 80)
    connection.putrequest("PUT", "/api/uploads/a")
    connection.putheader("Content-Type", "application/octet-stream")
    connection.putheader("Content-Length", "100")
    connection.endheaders(b"x")
    while client.head("/api/uploads/a").status_code == 404:
        pass
    answer = put(client, "a", b"other")
    assert (answer.status_code, answer.json()["detail"]) == (409, "a: another upload of this name is under way")
    connection.send(b"x" * 99)
    assert connection.getresponse().status == 201
    connection.close()


def test_a_file_and_a_folder_of_one_name(client: httpx.Client) -> None:
    put(client, "a", b"x")
    assert put(client, "a/b", b"x").json()["detail"] == "a/b: a file and a folder cannot have the same name; choose another name"
    put(client, "c/d", b"x")
    assert (
        put(client, "c", b"x").json()["detail"]
        == "c: a folder of this name was uploaded; choose another name, or delete it first"
    )


@confined
def test_a_folder_of_slices_is_converted(client: httpx.Client) -> None:
    entries: list[dict[str, Any]] = []
    for z in range(4):
        data = tiff(np.full((8, 9), z, np.uint8))
        entries.append(put(client, f"my%20stack/z{z}.tif", data).json())
    assert entries[0]["source"] == ".glassine/uploads/my stack/z0.tif"
    folder = client.get("/api/uploads/my%20stack").json()
    assert (folder["kind"], folder["complete"], folder["offset"]) == ("folder", True, None)
    put(client, "my%20stack/z4.tif", b"x", "bytes 0-0/2")
    assert client.get("/api/uploads/my%20stack").json()["complete"] is False
    assert client.get("/api/uploads").json()["uploads"][0]["complete"] is False
    client.delete("/api/uploads/my%20stack/z4.tif")
    (source,) = (entry for entry in client.get("/api/sources").json()["sources"] if entry["uploaded"])
    assert (source["kind"], source["name"], source["source"]) == ("folder", "my stack", ".glassine/uploads/my stack")
    options = {"source": source["source"], "dataset": "stack", "resolution": [8, 8, 40]}
    number = client.post("/api/jobs", json={"command": "convert", "options": options}).json()["id"]
    assert wait_until_ended(client, number)["state"] == "done"
    assert client.get("/data/stack/info").json()["scales"][0]["size"] == [9, 8, 4]
    assert client.delete("/api/uploads/my%20stack").status_code == 204


def tiff(page: np.ndarray) -> bytes:
    """Return a TIFF file of one page."""
    file = io.BytesIO()
    tifffile.imwrite(file, page)
    return file.getvalue()
