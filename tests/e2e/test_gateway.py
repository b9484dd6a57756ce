"""Datasets that other tools wrote, unmodified, in the real viewer: as they lie below /data, out of their shards below /flat."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from numpy.typing import NDArray

SHAPE = (70, 65, 33)
OFFSET = np.array((4, 5, -6))
RESOLUTION = np.array((8, 8, 10))
IDS = np.array([0, 3, 2**53 + 1, 2**64 - 1, 77], np.uint64)

IMAGES = [
    "cloud-volume-gzip",
    "cloud-volume-br",
    "cloud-volume-plain",
    "igneous-sharded",
    "tensorstore-plain",
    "tensorstore-sharded",
    "tensorstore-raw-shards",
    "neuroglancer-scripts-nested",
    "neuroglancer-scripts-flat",
    "neuroglancer-scripts-plain",
    "neuroglancer-scripts-sharded",
]
SHARDED = ["igneous-sharded", "tensorstore-sharded", "tensorstore-raw-shards", "neuroglancer-scripts-sharded"]
UNREADABLE = "neuroglancer-scripts-sharded"
"""Its shards hold zlib where the format says gzip, which no viewer reads: it can be seen below /flat alone."""
PROBES = np.concatenate([np.random.default_rng(4).integers(0, SHAPE, (60, 3)), [(0, 0, 0), np.array(SHAPE) - 1]])


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    x, y, z = np.indices(SHAPE)
    return ((3 * x + 5 * y + 7 * z + x * y % 11) % 251).astype(np.uint8)


@pytest.fixture(scope="module")
def labels() -> NDArray[np.uint64]:
    x, y, z = np.indices(SHAPE)
    return IDS[(x // 23 + y // 22 + z // 17) % 5]


@pytest.fixture(scope="module")
def url(
    image: Any, labels: Any, serving: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:  # fmt: skip
    """The server of a folder that the other tools have written to."""
    root = tmp_path_factory.mktemp("others")
    np.save(root / "image.npy", image)
    np.save(root / "labels.npy", labels)
    tools = Path(__file__).with_name("other_tools.py")
    subprocess.run([sys.executable, str(tools), str(root)], check=True, timeout=240)
    with serving(root) as base:
        yield base


def layer(kind: str, source: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "name": source.rsplit("/", 1)[-1], "source": f"precomputed://{source}", **more}


def link(url: str, layers: list[dict[str, Any]]) -> str:
    state = {"layers": layers, "position": (OFFSET + np.array(SHAPE) // 2).tolist(), "layout": "4panel", "crossSectionScale": 0.2}
    return f"{url}/v/test/#!{quote(json.dumps(state))}"


def assert_values(viewer: Any, name: str, voxels: NDArray[Any]) -> None:
    expected = [str(voxels[tuple(place)]) for place in PROBES]
    assert viewer.values(name, 0, PROBES) == expected, name


@pytest.mark.parametrize("prefix", ["data", "flat"])
def test_images_of_every_tool_in_every_layout(viewer, url: str, image: Any, prefix: str):
    names = [name for name in IMAGES if prefix == "flat" or name != UNREADABLE]
    viewer.open(link(url, [layer("image", f"{url}/{prefix}/{name}") for name in names]))
    viewer.wait(layers=len(names), seconds=120)
    for name in names:
        assert_values(viewer, name, image)
    viewer.assert_panels_filled()
    viewer.assert_clean()
    asked = viewer.page.evaluate("performance.getEntriesByType('resource').map(entry => entry.name)")
    assert not [address for address in asked if prefix == "flat" and address.endswith(".shard")]


@pytest.mark.parametrize(("prefix", "name"), [("data", "cloud-volume-labels"), ("data", "neuroglancer-scripts-labels"),
                                              ("data", "tensorstore-labels"), ("flat", "tensorstore-labels")])  # fmt: skip
def test_labels_with_their_meshes_and_skeletons(viewer, url: str, labels: Any, prefix: str, name: str):
    segments = [str(segment) for segment in IDS[1:]]
    viewer.open(link(url, [layer("segmentation", f"{url}/{prefix}/{name}", segments=segments)]))
    viewer.wait()
    assert_values(viewer, name, labels)
    if not name.startswith("tensorstore"):
        shown = viewer.meshes(name)
        assert {segment: mesh.triangles for segment, mesh in shown.items()} == dict.fromkeys(map(int, IDS[1:]), 12)
        for segment, mesh in shown.items():
            places = np.argwhere(labels == np.uint64(segment))
            np.testing.assert_allclose(mesh.low, places.min(axis=0) * RESOLUTION)
            np.testing.assert_allclose(mesh.high, (places.max(axis=0) + 1) * RESOLUTION)
    if name.startswith("cloud-volume"):
        assert skeletons(viewer) == {int(segment): [10, 9] for segment in IDS[1:]}
    # neuroglancer-scripts writes no info for meshes; the viewer then takes them for legacy ones.
    viewer.traffic.failed = [line for line in viewer.traffic.failed if not line.endswith("/mesh/info")]
    viewer.traffic.errors = [line for line in viewer.traffic.errors if "404" not in line]
    viewer.assert_clean()


@pytest.mark.parametrize("prefix", ["data", "flat"])
def test_sharded_skeletons(viewer, url: str, prefix: str):
    segments = [str(segment) for segment in IDS[1:]]
    layers = [layer("segmentation", f"{url}/{prefix}/igneous-skeletons", segments=segments)]
    viewer.open(link(url, [layer("image", f"{url}/data/tensorstore-plain"), *layers]))
    viewer.wait(layers=2)
    assert skeletons(viewer) == {int(segment): [10, 9] for segment in IDS[1:]}
    viewer.assert_clean()


def skeletons(viewer: Any) -> dict[int, list[int]]:
    """Return vertices and edges of each skeleton that the viewer has."""
    found = viewer.page.evaluate(
        """() => viewer.layerManager.managedLayers.flatMap(managed => managed.layer.renderLayers)
        .map(renderLayer => renderLayer.base?.source?.chunks).filter(chunks => chunks !== undefined)
        .flatMap(chunks => [...chunks].map(([id, chunk]) => [id, [chunk.numVertices, chunk.numIndices / 2]]))"""
    )
    return {int(segment): counts for segment, counts in found}
