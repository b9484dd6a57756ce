"""The streams of events, and the list of sources."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from app.jobs import events
from app.jobs import sources as listing
from app.jobs.events import Events, Stream
from app.jobs.job import Job, State, now
from app.settings import JobSettings
from tests.app.jobs.conftest import confined, converting, served, wait_until_ended


def told(text: str) -> list[tuple[int, str, dict[str, Any]]]:
    """Return the events of a stream: id, kind, data."""
    found = []
    for block in text.split("\n\n"):
        members = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in members:
            found.append((int(members["id"]), members["event"], json.loads(members["data"])))
    return found


@confined
def test_a_jobs_events_from_its_beginning_to_its_end(client: httpx.Client) -> None:
    number = client.post("/api/jobs", json=converting("brain")).json()["id"]
    answer = client.get(f"/api/jobs/{number}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    found = told(answer.text)
    assert [kind for _, kind, _ in found] == ["job"] * len(found)
    assert [number for number, _, _ in found] == sorted({number for number, _, _ in found})
    last = found[-1][2]
    assert (last["state"], last["id"], last["log"]) == ("done", number, None)
    assert last["link"].startswith(str(client.base_url))
    assert [data["state"] for _, _, data in found][-2:] != ["done", "done"]


@confined
def test_a_stream_is_taken_up_where_it_broke_off(client: httpx.Client) -> None:
    numbers = [client.post("/api/jobs", json=converting(name)).json()["id"] for name in ("a", "b")]
    for number in numbers:
        wait_until_ended(client, number)
    first = first_events(client, 2, {})
    assert [(kind, data["id"], data["state"]) for _, kind, data in first] == [("job", 1, "done"), ("job", 2, "done")]
    client.delete(f"/api/jobs/{numbers[0]}")
    again = first_events(client, 1, {"Last-Event-ID": str(first[-1][0])})
    assert [(kind, data) for _, kind, data in again] == [("removed", {"id": 1})]
    # One that knows nothing is told of no job that is gone.
    assert [data["id"] for _, _, data in first_events(client, 1, {})] == [2]
    refused = client.get("/api/events", headers={"Last-Event-ID": "x"})
    assert (refused.status_code, refused.json()["detail"]) == (400, "Last-Event-ID 'x': expected the id of an event")


def first_events(client: httpx.Client, count: int, headers: dict[str, str]) -> list[tuple[int, str, dict[str, Any]]]:
    """Return so many events of all jobs' stream."""
    text = ""
    with client.stream("GET", "/api/events", headers=headers) as answer:
        for part in answer.iter_text():
            text += part
            if len(told(text.rpartition("\n\n")[0])) >= count:
                return told(text.rpartition("\n\n")[0])
    raise AssertionError(f"the stream ended: {text}")


def test_streams_end_with_their_server(root: Path) -> None:
    began = threading.Event()
    ended = []

    def listen(url: httpx.URL) -> None:
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as client, client.stream("GET", "/api/events") as answer:
            for _ in answer.iter_text():
                began.set()
        ended.append(True)

    with served(root) as client:
        thread = threading.Thread(target=listen, args=(client.base_url,))
        thread.start()
        assert began.wait(60)
    thread.join(60)
    assert ended == [True]


def test_a_comment_comes_when_nothing_happens_and_a_client_that_has_gone_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_LOOK_SECONDS", 0.001)
    monkeypatch.setattr(events, "_COMMENT_SECONDS", 0.002)
    job = Job(id=1, command="convert", options={}, state=State.QUEUED, created=now(), change=3)
    asked: list[int] = []
    gone = iter([False] * 20 + [True])

    def changed(since: int) -> list[Job]:
        asked.append(since)
        return [job] if since < 3 else []

    async def listen() -> list[str]:
        async def is_gone() -> bool:
            return next(gone)

        return [text async for text in Events().texts(Stream(None, None), changed, is_gone)]

    texts = asyncio.run(listen())
    assert texts[0] == "retry: 2000\n\n"
    assert told(texts[1])[0][:2] == (3, "job")
    assert set(texts[2:]) == {": nothing new\n\n"}
    assert asked == [0] + [3] * 19


# Sources ------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[tuple[httpx.Client, Path, Path]]:
    """A server, its folder and another input folder."""
    root, inputs = tmp_path / "served", tmp_path / "inputs"
    for folder in (root, inputs):
        folder.mkdir()
    with served(root, JobSettings(inputs=(inputs,))) as client:
        yield client, root, inputs


def test_sources_are_found_by_their_names(shelf: tuple[httpx.Client, Path, Path]) -> None:
    client, root, inputs = shelf
    for path in ("scan.nii.gz", "notes.txt", "lab/one.TIF", "lab/.hidden.tif", ".secret/a.npy", "a/b/c/d/e/f/deep.h5"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"12345")
    for z in range(3):
        (root / "stack").mkdir(exist_ok=True)
        (root / "stack" / f"z{z}.tif").write_bytes(b"1")
    for name in (
        "v.zarr/zarr.json",
        "old/.zarray",
        "n5/attributes.json",
        "theirs/info",
        "ours/info",
        "ours/.glassine/record.json",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("{}")
    np.save(inputs / "array.npy", np.zeros(3))
    (root / "away.nii").symlink_to(inputs / "array.npy")
    (root / "here.nii").symlink_to(root / "scan.nii.gz")
    answer = client.get("/api/sources").json()
    assert answer["complete"] is True
    found = {entry["source"]: (entry["kind"], entry["bytes"], entry["uploaded"]) for entry in answer["sources"]}
    assert found == {
        "scan.nii.gz": ("file", 5, False),
        "here.nii": ("file", 5, False),
        "lab/one.TIF": ("file", 5, False),
        "a/b/c/d/e/f/deep.h5": ("file", 5, False),
        "stack": ("folder", None, False),
        "v.zarr": ("folder", None, False),
        "old": ("folder", None, False),
        "n5": ("folder", None, False),
        "theirs": ("folder", None, False),
        f"{inputs}/array.npy": ("file", 152, False),
    }
    assert [entry["name"] for entry in answer["sources"]] == sorted(entry["name"] for entry in answer["sources"])
    assert answer["sources"][0]["modified"][:4] == time.strftime("%Y", time.gmtime())


def test_a_list_that_would_be_too_long_says_so(shelf: tuple[httpx.Client, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    client, root, _ = shelf
    for number in range(7):
        (root / f"{number}").mkdir()
        (root / f"{number}" / "a.nii").write_bytes(b"1")
    monkeypatch.setattr(listing, "_MOST", 4)
    answer = client.get("/api/sources").json()
    assert (len(answer["sources"]), answer["complete"]) == (4, False)
