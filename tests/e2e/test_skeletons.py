"""Skeletons in the real viewer: what it decoded of each segment that the link selects; it lies in its voxels and its mesh."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from converters.skeletons.reading import open_skeletons

RESOLUTION = np.array([11.24, 11.24, 28.0])
OFFSET = np.array([-37, 5, 101])
SCALE = "11.24_11.24_28"
IDS = (3, 2**53 + 1, 2**64 - 1)


@pytest.fixture(scope="module")
def labels() -> NDArray[np.uint64]:
    """Wavy tubes, with ids that JavaScript's numbers do not hold."""
    found = np.zeros((90, 70, 40), np.uint64)
    x, y, z = np.meshgrid(*map(np.arange, found.shape), indexing="ij")
    for number, segment in enumerate(IDS):
        middle = 15 + 20 * number + 5 * np.sin(x / 12 + number)
        found[(np.hypot(y - middle, 2 * (z - 20)) < 5 + number) & (x > 4) & (x < 84)] = segment
    return found


@pytest.fixture(scope="module")
def server(serving: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A served folder and its URL."""
    root = tmp_path_factory.mktemp("served")
    with serving(root) as url:
        yield root, url


@pytest.fixture
def dataset(glassine: Callable[..., str], server: tuple[Path, str], labels: Any, tmp_path: Path) -> Callable[[str], Path]:
    """Convert the labels into a dataset of a name."""

    def made(name: str) -> Path:
        np.save(tmp_path / "labels.npy", labels)
        told = ("--axes", "xyz", "--resolution", "11.24,11.24,28", f"--voxel-offset={','.join(map(str, OFFSET))}")
        glassine("convert", tmp_path / "labels.npy", server[0] / name, *told, "--chunk-size", "32,32,32")
        return server[0] / name

    return made


def assert_shown(viewer: Any, dataset: Path, folder: Path) -> dict[int, Any]:
    """Fail unless the viewer has every skeleton of a folder, as our reader has it; return them."""
    reader, shown = open_skeletons(folder), viewer.skeletons(dataset.name)
    assert sorted(shown) == reader.segments()
    for segment, skeleton in shown.items():
        ours = reader.read(segment)
        assert ours is not None
        np.testing.assert_array_equal(skeleton.vertices, ours.vertices)
        np.testing.assert_array_equal(skeleton.edges, ours.edges)
        assert set(skeleton.attributes) == set(ours.attributes) == {"radius", "vertex_types"}
        for name, values in skeleton.attributes.items():
            np.testing.assert_array_equal(values, ours.attributes[name])
    return dict(shown)


@pytest.mark.parametrize("layout", ["files", "sharded"])
def test_every_selected_segment_is_decoded_and_lies_in_its_voxels_and_its_mesh(
    viewer, glassine: Callable[..., str], dataset: Any, server: tuple[Path, str], labels: Any, layout: str
):
    root, url = server
    made = dataset(layout)
    glassine("mesh", made, "--scale", SCALE)
    glassine("skeletonize", made, "--scale", SCALE, "--dust-threshold", "50", "--const", "60", "--layout", layout)
    viewer.open(glassine("link", made, "--root", root, "--url", url).strip())
    viewer.wait()
    shown = assert_shown(viewer, made, made / "skeletons")
    assert sorted(shown) == sorted(IDS)
    for segment, skeleton in shown.items():
        assert len(skeleton.vertices) > 30
        voxels = np.floor(skeleton.vertices / RESOLUTION).astype(int) - OFFSET
        assert (labels[tuple(voxels.T)] == np.uint64(segment)).all()
        mesh = viewer.meshes(made.name)[segment]
        assert (skeleton.vertices.min(axis=0) >= mesh.low).all()
        assert (skeleton.vertices.max(axis=0) <= mesh.high).all()
    viewer.assert_clean()


def test_skeletons_without_meshes_are_selected_and_their_cable_lengths_listed(
    viewer, glassine: Callable[..., str], dataset: Any, server: tuple[Path, str]
):
    root, url = server
    made = dataset("numbers")
    glassine("skeletonize", made, "--scale", SCALE, "--dust-threshold", "50", "--const", "60")
    viewer.open(glassine("link", made, "--root", root, "--url", url).strip())
    viewer.wait()
    assert sorted(assert_shown(viewer, made, made / "skeletons")) == sorted(IDS)
    told, reader = viewer.properties(made.name), open_skeletons(made / "skeletons")
    assert list(told) == ["cable_length", "branch_points", "end_points"]
    for segment in IDS:
        skeleton = reader.read(segment)
        assert skeleton is not None
        assert told["cable_length"][segment] == pytest.approx(skeleton.cable_length, rel=1e-6)
        assert told["branch_points"][segment] == (skeleton.degrees > 2).sum()
        assert told["end_points"][segment] == (skeleton.degrees == 1).sum()
    viewer.assert_clean()


SWC = "# unit: um\n1 1 0 0 0 {r} -1\n2 3 10 0 0 1 1\n3 3 20 5 {r} 1 2\n4 3 20 -5 0 NA 2\n"


@pytest.mark.parametrize("layout", ["files", "sharded"])
def test_imported_skeletons_alone(viewer, glassine: Callable[..., str], server: tuple[Path, str], layout: str, tmp_path: Path):
    root, url = server
    rows = []
    for number, segment in enumerate(IDS):
        (tmp_path / f"{number}.swc").write_text(SWC.format(r=number + 2))
        rows.append(f"{number}.swc,{segment},neuron {number}\n")
    (tmp_path / "table.csv").write_text("file,id,name\n" + "".join(rows))
    made = root / f"imported-{layout}"
    glassine("import-skeleton", made, "--table", tmp_path / "table.csv", "--layout", layout)
    viewer.open(glassine("link", made, "--root", root, "--url", url).strip())
    viewer.wait()
    shown = assert_shown(viewer, made, made)
    for number, segment in enumerate(IDS):
        r = 1000 * (number + 2)
        assert shown[segment].vertices.tolist() == [[0, 0, 0], [10_000, 0, 0], [20_000, 5000, r], [20_000, -5000, 0]]
        assert shown[segment].attributes["radius"].tolist() == [r, 1000, 1000, 0]
        assert shown[segment].attributes["vertex_types"].tolist() == [1, 3, 3, 3]
    ((kind, picture),) = viewer.panels()
    background = np.isin(picture, (0, 255)).all(axis=2) | (picture == picture[:, :, :1]).all(axis=2)
    assert kind == "3d"
    assert (~background).sum() > 300
    assert viewer.properties(made.name)["name"] == {segment: f"neuron {number}" for number, segment in enumerate(IDS)}
    viewer.assert_clean()


def test_imported_skeletons_lie_in_the_volume(
    viewer, glassine: Callable[..., str], dataset: Any, server: tuple[Path, str], labels: Any, tmp_path: Path
):
    """Voxels' indices as an SWC file, with the voxel size as the affine and half a voxel added."""
    root, url = server
    made = dataset("added")
    places = np.argwhere(labels == np.uint64(IDS[1]))[::500] + OFFSET
    rows = (f"{n} 0 {x} {y} {z} 1 {n - 1}\n" for n, (x, y, z) in enumerate(places.tolist(), 1))
    (tmp_path / f"{IDS[1]}.swc").write_text("".join(rows))
    affine = "11.24,0,0,0,0,11.24,0,0,0,0,28,0"
    glassine("import-skeleton", tmp_path / f"{IDS[1]}.swc", made, "--unit", "nm", "--voxel-centres", "--affine", affine)
    viewer.open(glassine("link", made, "--root", root, "--url", url).strip())
    viewer.wait()
    shown = assert_shown(viewer, made, made / "skeletons")
    np.testing.assert_allclose(shown[IDS[1]].vertices, (places + 0.5) * RESOLUTION, rtol=1e-5)
    viewer.assert_clean()
