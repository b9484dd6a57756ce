"""Private datasets in the real viewer: with a session, and with a link alone in the viewer of another server."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.access.grants import make_grant
from app.access.sessions import COOKIE, make_session
from app.access.tokens import Right, link_key, tokens_of
from app.links import Layer, viewer_link
from app.server import create_app, running
from app.settings import AccessSettings
from formats.info import parse_volume_info

TOKEN = "write-0123456789abcdef"
SETTINGS = AccessSettings(TOKEN)
VOXELS = (np.indices((40, 30, 20)).sum(axis=0) % 251).astype(np.uint8)
INFO = {
    "@type": "neuroglancer_multiscale_volume", "type": "image", "data_type": "uint8", "num_channels": 1,
    "scales": [{"key": "8_8_8", "size": [40, 30, 20], "voxel_offset": [0, 0, 0], "resolution": [8, 8, 8],
                "chunk_sizes": [[64, 64, 64]], "encoding": "raw"}],
}  # fmt: skip
PLACES = [(0, 0, 0), (39, 29, 19), (20, 11, 7)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("private")
    chunk = folder / "lab" / "brain" / "8_8_8" / "0-40_0-30_0-20"
    chunk.parent.mkdir(parents=True)
    chunk.write_bytes(VOXELS.tobytes("F"))
    (folder / "lab" / "brain" / "info").write_text(json.dumps(INFO))
    return folder


@pytest.fixture(scope="module")
def url(root: Path) -> Iterator[str]:
    with running(create_app(root, access=SETTINGS)) as address:
        yield address


def layer(grant: str = "") -> Layer:
    return Layer("lab/brain", parse_volume_info(json.dumps(INFO).encode()), grant=grant)


def granted(seconds: int) -> str:
    return make_grant(link_key(TOKEN), "lab/brain", int(time.time()) + seconds)


def assert_seen(viewer: Any) -> None:
    viewer.wait()
    assert [int(value) for value in viewer.values("brain", 0, PLACES)] == [int(VOXELS[place]) for place in PLACES]
    viewer.assert_clean()


def test_a_session_is_enough_for_the_servers_own_viewer(viewer: Any, url: str) -> None:
    tokens = tokens_of(SETTINGS)
    assert tokens is not None
    cookie = {"name": COOKIE, "value": make_session(tokens, Right.WRITE)[1], "url": url, "httpOnly": True, "sameSite": "Strict"}
    viewer.page.context.add_cookies([cookie])
    viewer.open(viewer_link([layer()], url))
    assert_seen(viewer)


def test_a_link_is_enough_without_a_session(viewer: Any, url: str) -> None:
    viewer.open(viewer_link([layer(granted(600))], url))
    assert_seen(viewer)


def test_a_link_is_enough_for_the_viewer_of_another_server(viewer: Any, url: str, tmp_path: Path) -> None:
    with running(create_app(tmp_path)) as other:
        state = viewer_link([layer(granted(600))], url).split("#!")[1]
        viewer.open(f"{other}/v/1/#!{state}")
        assert_seen(viewer)


@pytest.mark.parametrize("grant", ["", "expired"])
def test_without_a_right_the_viewer_says_so_and_shows_no_empty_space(viewer: Any, url: str, grant: str) -> None:
    viewer.open(viewer_link([layer(granted(-600) if grant else "")], url))
    with pytest.raises(AssertionError, match="401"):
        viewer.wait()
