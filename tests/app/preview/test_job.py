"""A dataset that a job of the same server writes is shown while it is written."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from app.jobs.confinement import can_confine
from app.server import create_app, running
from app.settings import JobSettings


def holder(lock: Path) -> int | None:
    """Return the process that holds a lock, as /proc/locks tells it."""
    try:
        inode = lock.stat().st_ino
    except OSError:
        return None
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if words[1] == "FLOCK" and words[5].endswith(f":{inode}"):
            return int(words[4])
    return None


def wait_for(seconds: float, found: Callable[[], Any]) -> Any:
    """Return what is found as soon as that is not None."""
    deadline = time.monotonic() + seconds
    while (answer := found()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return answer


def test_what_a_job_is_writing_is_shown(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    voxels = np.random.default_rng(1).integers(0, 200, (256, 256, 192), np.uint8)
    np.save(root / "source.npy", voxels)
    told = {"source": "source.npy", "dataset": "lab/written", "axes": "xyz", "resolution": [8, 8, 8], "chunk_size": [32, 32, 32]}
    job = {"command": "convert", "options": {**told, "memory": "150MB", "executor": "serial"}}
    with (
        running(create_app(root, jobs=JobSettings(unconfined=not can_confine()))) as url,
        httpx.Client(base_url=url, trust_env=False, timeout=60) as client,
    ):
        assert client.post("/api/jobs", json=job).status_code == 201
        process = wait_for(60, lambda: holder(root / "lab/written/.glassine/lock"))
        os.kill(process, signal.SIGSTOP)
        try:
            info = wait_for(
                60, lambda: json.loads(a.content) if (a := client.get("/data/lab/written/info")).status_code == 200 else None
            )
            assert "preview" in info
            chunk = "/data/lab/written/8_8_8/224-256_224-256_160-192"
            answer = wait_for(60, lambda: a if (a := client.get(chunk)).status_code == 200 else None)
            assert answer.content == voxels[224:, 224:, 160:].tobytes("F")
            assert not (root / "lab/written/info").exists()
        finally:
            os.kill(process, signal.SIGCONT)
        wait_for(120, lambda: True if "preview" not in client.get("/data/lab/written/info").json() else None)
        assert client.get(chunk).content == answer.content
