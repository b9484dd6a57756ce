"""kill -9 of servers and of jobs' processes: no job is lost, none runs twice at once, and in the end the bytes are the same."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.app.jobs.conftest import WAIT_SECONDS, confined, wait_for, wait_until_ended, write_scan

pytestmark = confined

ROOT = Path(__file__).parents[3]
SLOW = bool(os.environ.get("GLASSINE_SLOW"))
KILLS = 20 if SLOW else 3
SMALL_BLOCKS = {"encoding": "png", "chunk_size": [16, 16, 16], "memory": "150MB", "executor": "processes:2"}


class Lab:
    """A folder whose server is killed and started again."""

    def __init__(self, root: Path, workers: int) -> None:
        self.root = root
        self.command = [sys.executable, "-m", "app.entry", "serve", str(root), "--port", "0", "--workers", str(workers)]
        self.start()

    def start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(self.command, env=environment, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.started = time.monotonic()
        self.client = httpx.Client(base_url=line.split()[3].rstrip("/"), trust_env=False, timeout=60)

    def kill_server(self) -> None:
        self.process.kill()
        self.wait()

    def wait(self) -> None:
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.client.close()

    def children(self) -> list[psutil.Process]:
        """Return the processes of jobs, whoever started them; their workers have other command lines."""
        found = []
        for process in psutil.process_iter(["cmdline", "cwd"]):
            if process.info["cwd"] == str(self.root) and "app.jobs.child" in (process.info["cmdline"] or ()):
                found.append(process)
        return found

    def post(self, dataset: str) -> int:
        options = {"source": "large.nii", "dataset": dataset, **SMALL_BLOCKS}
        answer = self.client.post("/api/jobs", json={"command": "convert", "options": options})
        assert answer.status_code == 201
        return int(answer.json()["id"])


@contextmanager
def lab(root: Path, workers: int = 1) -> Iterator[Lab]:
    opened = Lab(root, workers)
    try:
        yield opened
    finally:
        opened.process.send_signal(signal.SIGINT)
        opened.wait()
        end = time.monotonic() + WAIT_SECONDS
        while opened.children():
            assert time.monotonic() < end, "a process outlived its server"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = (tmp_path / "served").resolve()
    folder.mkdir()
    write_scan(folder / "large.nii", (160, 160, 160) if SLOW else (96, 96, 96))
    return folder


def contents(dataset: Path) -> dict[str, bytes]:
    """Return the bytes of all files of a dataset but the lock."""
    return {
        path.relative_to(dataset).as_posix(): path.read_bytes()
        for path in dataset.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def expected(root: Path) -> dict[str, bytes]:
    """Return what the same conversion gives when nothing is killed, in a process of its own."""
    words = [word for name, value in SMALL_BLOCKS.items() for word in (f"--{name.replace('_', '-')}", as_word(value))]
    command = [sys.executable, "-m", "app.entry", "convert", "large.nii", "undisturbed", *words]
    subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, stdout=subprocess.DEVNULL)
    return contents(root / "undisturbed")


def as_word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def test_killed_at_random_moments(root: Path) -> None:
    moments = random.Random(7)
    with lab(root) as server:
        numbers = [server.post(f"d{number}") for number in range(3 if SLOW else 2)]
        for kill in range(KILLS):
            time.sleep(moments.uniform(0.2, 3.0 if SLOW else 1.5))
            children = server.children()
            assert len(children) <= 1
            if kill % 2:
                server.kill_server()
                server.start()
            elif children:
                children[0].kill()
            jobs = {job["id"]: job for job in server.client.get("/api/jobs").json()["jobs"]}
            assert set(jobs) == set(numbers), "a job is lost"
            assert [job["state"] for job in jobs.values()].count("running") <= 1
        for number in numbers:
            job = wait_until_ended(server.client, number)
            while job["state"] == "failed":
                # Killed so often that somebody has to try again; that another run was in its dataset's folder would be told here.
                assert job["error"].startswith("its process ended 3 times before the work was done, last with signal SIGKILL")
                server.client.post(f"/api/jobs/{number}/retry", json={})
                job = wait_until_ended(server.client, number)
            assert job["state"] == "done", job
        assert any(job["attempts"] > 1 for job in server.client.get("/api/jobs").json()["jobs"])
    whole = expected(root)
    for number in range(len(numbers)):
        assert contents(root / f"d{number}") == whole


def test_another_server_process_takes_over_the_queue_of_one_that_is_killed(root: Path) -> None:
    with lab(root, workers=2) as server:
        number = server.post("d")
        wait_for(server.client, number, lambda job: bool(job["done"]))
        # A server whose processes end within their first seconds gives up.
        server.client.delete(f"/api/jobs/{number}")
        wait_until_ended(server.client, number)
        time.sleep(max(0.0, 5.5 - (time.monotonic() - server.started)))
        server.client.post(f"/api/jobs/{number}/retry", json={})
        wait_for(server.client, number, lambda job: job["state"] == "running")
        (child,) = server.children()
        child.parent().kill()  # type: ignore[union-attr]
        end = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                job = server.client.get(f"/api/jobs/{number}").json()
            except httpx.TransportError:
                continue  # that connection went to the one that was killed
            if job["state"] == "done":
                break
            assert job["state"] in ("running", "interrupted", "queued"), job
            assert time.monotonic() < end
            time.sleep(0.05)
    assert job["attempts"] == 3
    assert (root / "d" / "info").is_file()


def test_two_servers_on_one_folder_run_a_job_once(root: Path) -> None:
    with lab(root) as first, lab(root) as second:
        number = second.post("d")
        wait_for(first.client, number, lambda job: bool(job["done"]))
        assert len(first.children()) == 1
        job = wait_until_ended(first.client, number)
        assert second.client.get(f"/api/jobs/{number}").json()["ended"] == job["ended"]
    assert (job["state"], job["attempts"]) == ("done", 1)
