"""A folder with a volume, its meshes and skeletons, served with all that passes counted."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest

from app.logs import RequestLog
from app.metrics.counted import Telling
from app.server import counted, create_app, running
from app.settings import AccessSettings

CHUNK = "0-64_0-64_0-64"
Served = Callable[..., AbstractContextManager[httpx.Client]]


def write_volume(folder: Path) -> None:
    """Write an info with three scales, meshes and skeletons, and a file of each kind."""
    keys = ("8_8_8", "16_16_16", "fine/4_4_4")
    files = {
        "info": json.dumps(
            {
                "@type": "neuroglancer_multiscale_volume",
                "mesh": "mesh",
                "skeletons": "skeletons/",
                "scales": [{"key": key} for key in keys],
            }
        ),
        f"8_8_8/{CHUNK}": "x" * 1000,
        f"16_16_16/{CHUNK}": "y" * 50_000,
        "fine/4_4_4/0.shard": "z" * 3000,
        "mesh/info": json.dumps({"@type": "neuroglancer_legacy_mesh"}),
        "mesh/1:0": "{}",
        "mesh/1:0:0-1_0-1_0-1": "fragment",
        "skeletons/7": "skeleton",
        "provenance": "{}",
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder to serve, with the dataset lab/brain in it."""
    write_volume(tmp_path / "served" / "lab" / "brain")
    return tmp_path / "served"


@pytest.fixture
def served(root: Path) -> Served:
    """Serve the folder in a thread while the context lasts."""

    @contextmanager
    def serve(access: AccessSettings | None = None, log: RequestLog | None = None) -> Iterator[httpx.Client]:
        app = counted(create_app(root, access=access), root, Telling(None, log))
        with running(app) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            yield client

    return serve
