"""A folder with a scan, served with its jobs."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import nibabel
import numpy as np
import pytest

from app.jobs.confinement import can_confine
from app.server import create_app, running
from app.settings import JobSettings

WAIT_SECONDS = 280
"""Longer than anything here takes on a busy machine, to which jobs give way; a test that waits so long has failed."""

confined = pytest.mark.skipif(not can_confine() and not os.environ.get("CI"), reason="this kernel cannot confine processes")


def write_scan(path: Path, shape: tuple[int, int, int] = (20, 22, 18)) -> None:
    """Write a NIfTI file of random voxels of 2 x 2 x 3 mm."""
    voxels = np.random.default_rng(0).integers(0, 1000, shape, np.uint16)
    image = nibabel.Nifti1Image(voxels, np.diag([2.0, 2.0, 3.0, 1.0]))
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder to serve, with a scan in it."""
    (tmp_path / "served").mkdir()
    write_scan(tmp_path / "served" / "scan.nii.gz")
    return tmp_path / "served"


@contextmanager
def served(root: Path, jobs: JobSettings | None = None) -> Iterator[httpx.Client]:
    """Serve a folder in a thread."""
    with running(create_app(root, jobs=jobs)) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        yield client


@pytest.fixture
def client(root: Path) -> Iterator[httpx.Client]:
    """A client of a server on the folder."""
    with served(root) as opened:
        yield opened


@dataclass(frozen=True)
class Quiet:
    """A server that is asked for nothing but what it refuses, and its folder: whatever is asked, it stays as it is."""

    client: httpx.Client
    root: Path


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quiet]:
    """A server for all such tests of a module."""
    root = tmp_path_factory.mktemp("quiet")
    write_scan(root / "scan.nii.gz")
    with served(root) as opened:
        yield Quiet(opened, root)
        assert os.listdir(root) == ["scan.nii.gz"]


def converting(dataset: str, **options: Any) -> dict[str, Any]:
    """Return the body that starts a conversion of the scan."""
    return {"command": "convert", "options": {"source": "scan.nii.gz", "dataset": dataset, "executor": "serial", **options}}


def wait_for(client: httpx.Client, number: int, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return a job as soon as something is true of it."""
    end = time.monotonic() + WAIT_SECONDS
    while True:
        answer = client.get(f"/api/jobs/{number}")
        job: dict[str, Any] = answer.json()
        if answer.status_code == 200 and is_so(job):
            return job
        assert job.get("state") not in ("done", "failed", "cancelled"), f"ended before it was so: {job}"
        assert time.monotonic() < end, f"still {job}"
        time.sleep(0.02)


def wait_until_ended(client: httpx.Client, number: int) -> dict[str, Any]:
    """Return a job when it has ended."""
    return wait_for(client, number, lambda job: job["state"] in ("done", "failed", "cancelled"))
