"""/healthz: well as long as requests can be answered, and quick to say when they cannot."""

import asyncio
import shutil
import threading
from pathlib import Path

import httpx
import pytest
from starlette.types import Message

from app import health
from app.health import Health
from app.server import create_app, running


async def ask(asked: Health) -> tuple[int, str]:
    """Return status and text of the answer."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    await asked({"type": "http", "method": "GET", "headers": []}, receive, send)
    return sent[0]["status"], sent[1]["body"].decode()


def test_a_server_is_well_as_long_as_its_folder_is_there(tmp_path: Path) -> None:
    root = tmp_path / "served"
    root.mkdir()
    with running(create_app(root)) as url, httpx.Client(base_url=url, trust_env=False) as client:
        assert (client.get("/healthz").status_code, client.get("/healthz").text) == (200, "ok\n")
        assert client.head("/healthz").status_code == 200
        shutil.rmtree(root)
        answer = client.get("/healthz")
        assert (answer.status_code, answer.text) == (503, "the served folder is not there or cannot be read\n")
        assert answer.headers["cache-control"] == "no-store"
        root.write_text("a file in its place")
        assert client.get("/healthz").status_code == 503
        root.unlink()
        root.mkdir()
        assert client.get("/healthz").text == "ok\n"


def test_a_server_that_stops_is_not_to_be_asked(tmp_path: Path) -> None:
    async def stopped() -> tuple[int, str]:
        asked = Health(tmp_path)
        assert await ask(asked) == (200, "ok\n")
        asked.stop()
        return await ask(asked)

    assert asyncio.run(stopped()) == (503, "the server is being stopped\n")


def test_a_disk_that_hangs_is_told_and_takes_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    answers = threading.Event()

    def hang(root: Path) -> None:
        looks.append(root)
        answers.wait()

    async def asked_ten_times() -> list[tuple[int, str]]:
        asked = Health(tmp_path, patience=0.05)
        try:
            return await asyncio.gather(*(ask(asked) for _ in range(10)))
        finally:
            answers.set()
            asked.stop()

    monkeypatch.setattr(health, "_look", hang)
    assert asyncio.run(asked_ten_times()) == [(503, "the served folder does not answer\n")] * 10
    assert looks == [tmp_path]
