"""Meshes of a segmentation in the real viewer: what it decoded of each segment that the link selects, and where."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

RESOLUTION = np.array([11.24, 11.24, 28.0])
OFFSET = np.array([-37, 5, 101])


@pytest.fixture(scope="module")
def labels() -> NDArray[np.uint64]:
    """Smooth objects of some voxels' thickness, with ids that JavaScript's numbers do not hold."""
    random = np.random.default_rng(5)
    fields = [gaussian_filter(random.standard_normal((80, 70, 60)), 6) for _ in range(5)]
    return np.array([0, 3, 2**53 + 1, 2**64 - 1, 77], np.uint64)[np.argmax(fields, axis=0)]


@pytest.fixture(scope="module")
def server(serving: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A served folder and its URL."""
    root = tmp_path_factory.mktemp("served")
    with serving(root) as url:
        yield root, url


@pytest.fixture
def meshed(glassine: Callable[..., str], server: tuple[Path, str], labels: Any, tmp_path: Path) -> Callable[..., str]:
    """Convert the labels into a dataset of a name, mesh it with options, and return its link."""
    root, url = server

    def link(name: str, *options: str) -> str:
        np.save(tmp_path / "labels.npy", labels)
        told = ("--axes", "xyz", "--resolution", "11.24,11.24,28", f"--voxel-offset={','.join(map(str, OFFSET))}")
        glassine("convert", tmp_path / "labels.npy", root / name, *told, "--chunk-size", "32,32,32")
        glassine("mesh", root / name, "--scale", "11.24_11.24_28", *options)
        return glassine("link", root / name, "--root", root, "--url", url).strip()

    return link


@pytest.mark.parametrize("options", [("--layout", "files"), ("--layout", "sharded"), ("--format", "legacy")])
def test_every_selected_segment_is_decoded_and_lies_around_its_voxels(viewer, meshed: Any, labels: Any, options: tuple[str, str]):
    viewer.open(meshed(options[1], *options))
    viewer.wait()
    shown = viewer.meshes(options[1])
    assert set(shown) == set(np.unique(labels).tolist()) - {0}
    for segment, mesh in shown.items():
        places = np.argwhere(labels == np.uint64(segment)) + OFFSET
        middle = (places.min(axis=0) + places.max(axis=0) + 1) / 2 * RESOLUTION
        assert mesh.triangles > 100
        assert (np.abs((mesh.low + mesh.high) / 2 - middle) <= RESOLUTION / 2 + 0.1).all(), segment
    viewer.assert_panels_filled()
    viewer.assert_clean()


def test_all_levels_of_detail_are_decoded(viewer, meshed: Any, server: tuple[Path, str]):
    link = meshed("levels", "--lods", "3")
    triangles = json.loads((server[0] / "levels/.glassine/mesh.json").read_text())["triangles"]
    assert sorted(triangles, reverse=True) == triangles
    viewer.open(link)
    viewer.wait()
    # The viewer keeps the coarse levels that it drew until the finest came.
    assert sum(mesh.triangles for mesh in viewer.meshes("levels").values()) >= sum(triangles)
    viewer.assert_clean()


def seen_from(link: str, times: float) -> tuple[str, float]:
    """Return a link from so many times as far away, and how many units its 3-D panel is high."""
    address, state = link.split("#!")
    members = json.loads(unquote(state))
    members["projectionScale"] *= times
    return f"{address}#!{quote(json.dumps(members))}", members["projectionScale"]


def test_from_afar_the_coarsest_level_is_loaded_alone_and_near_by_the_finest(viewer, meshed: Any):
    link, far = seen_from(meshed("zoomed", "--lods", "3"), 100)
    viewer.open(link)
    viewer.wait()
    from_afar = viewer.meshes("zoomed")
    assert len(from_afar) == 4
    assert {segment: mesh.levels for segment, mesh in from_afar.items()} == dict.fromkeys(from_afar, frozenset({2}))
    viewer.zoom(far / 100)
    near_by = viewer.meshes("zoomed")
    assert {segment: min(mesh.levels) for segment, mesh in near_by.items()} == dict.fromkeys(from_afar, 0)
    assert all(near_by[segment].triangles > 2 * mesh.triangles for segment, mesh in from_afar.items())
    viewer.assert_clean()


def many(edge: int) -> NDArray[np.uint32]:
    """Return edge**3 bumpy objects of about 16 voxels each."""
    random = np.random.default_rng(7)
    x, y, z = np.indices((20, 20, 20)) - 9.5
    found = np.zeros((20 * edge,) * 3, np.uint32)
    for number, (i, j, k) in enumerate(np.ndindex(edge, edge, edge), 1):
        bumps = gaussian_filter(random.standard_normal((20, 20, 20)), 2) * 30
        part = found[20 * i : 20 * i + 20, 20 * j : 20 * j + 20, 20 * k : 20 * k + 20]
        part[np.sqrt(x * x + y * y + z * z) + bumps < 8] = number
    return found


SELECTED = [4, pytest.param(10, marks=pytest.mark.skipif(os.environ.get("GLASSINE_SLOW") != "1", reason="slow; GLASSINE_SLOW=1"))]


@pytest.mark.parametrize("edge", SELECTED)
def test_a_thousand_selected_segments_take_less_than_half_a_gigabyte(
    viewer, glassine: Callable[..., str], server: tuple[Path, str], tmp_path: Path, edge: int
):
    root, url = server
    name, count = f"many{edge}", edge**3
    np.save(tmp_path / "labels.npy", many(edge))
    glassine("convert", tmp_path / "labels.npy", root / name, "--axes", "xyz", "--resolution", "10,10,10")
    glassine("mesh", root / name, "--scale", "10_10_10")
    address, state = glassine("link", root / name, "--root", root, "--url", url).strip().split("#!")
    members = json.loads(unquote(state))
    members["layers"][0]["segments"] = [str(segment) for segment in range(1, count + 1)]
    viewer.open(f"{address}#!{quote(json.dumps(members))}")
    viewer.wait(seconds=240)
    viewer.zoom(members["projectionScale"] / 2)
    shown = viewer.meshes(name)
    assert set(shown) == set(range(1, count + 1))
    assert min(level for mesh in shown.values() for level in mesh.levels) == 0
    assert 0 < viewer.gpu_bytes() < 500e6 * count / 1000
    viewer.assert_clean()
