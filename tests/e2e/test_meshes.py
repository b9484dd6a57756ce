"""Meshes of a segmentation in the real viewer: what it decoded of each segment that the link selects, and where."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
