"""Skeletons of a dataset as SWC files, read by navis."""

from pathlib import Path
from typing import Any

import navis
import numpy as np
import pytest

from converters.errors import OptionError
from converters.skeletons.conversion import make_skeletons
from converters.skeletons.reading import open_skeletons
from converters.skeletons.swc_files import write_swc_files
from formats.skeletons.encoded import encode_skeleton
from formats.skeletons.skeleton import Skeleton
from tests.converters.skeletons.datasets import options, quiet, segmentation
from tests.converters.skeletons.phantoms import in_two_pieces, soma

# Navis' own calls of pandas.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def silent(done: int, total: int) -> None:
    """Show no progress."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Skeletons of a cell body with four neurites (3), and of one segment in two pieces (2**53 + 1)."""
    labels = soma().labels.astype(np.uint64)
    labels = np.concatenate([labels, np.where(in_two_pieces().labels > 0, np.uint64(2**53 + 1), np.uint64(0))], axis=2)
    return segmentation(tmp_path_factory.mktemp("soma"), labels)


@pytest.mark.parametrize("layout", ["files", "sharded"])
@pytest.mark.parametrize(("unit", "length", "name"), [("nm", 1.0, "nanometer"), ("um", 1000.0, "micrometer")])
def test_navis_reads_our_files(unit: Any, length: float, name: str, layout: str, dataset: Path, tmp_path: Path) -> None:
    make_skeletons(dataset, options(layout=layout, overwrite=True), quiet)
    reader = open_skeletons(dataset / "skeletons")
    assert write_swc_files(reader, tmp_path / "swc", unit, silent) == 2
    for segment, trees in ((3, 1), (2**53 + 1, 2)):
        ours = reader.read(segment)
        assert ours is not None
        read = navis.read_swc(str(tmp_path / "swc" / f"{segment}.swc"))
        assert (read.id, read.name, str(read.units)) == (str(segment), str(segment), f"1 {name}")
        assert (read.n_nodes, read.n_trees, read.n_leafs) == (len(ours.vertices), trees, (ours.degrees == 1).sum())
        assert read.cable_length * length == pytest.approx(ours.cable_length, rel=1e-5)
        found = np.column_stack([read.nodes[["x", "y", "z", "radius"]] * length, read.nodes["label"].astype(int)])
        expected = np.column_stack([ours.vertices, ours.attributes["radius"], ours.attributes["vertex_types"]])
        found, expected = (array[np.lexsort(array.T[:3])] for array in (found, expected))
        np.testing.assert_allclose(found, expected, rtol=2**-22)


def test_navis_finds_the_soma(dataset: Path, tmp_path: Path) -> None:
    make_skeletons(dataset, options(overwrite=True), quiet)
    write_swc_files(open_skeletons(dataset / "skeletons"), tmp_path, "um", silent)
    read = navis.read_swc(str(tmp_path / "3.swc"))
    (place,) = read.nodes.loc[read.nodes.node_id == read.soma, ["x", "y", "z"]].to_numpy()
    # The middle of the cell body, within its radius of 15 voxels of 32 nm; the root lies there too.
    assert np.linalg.norm(place - (np.array([50, 36, 30]) + 0.5) * 0.032) < 15 * 0.032
    assert read.root.tolist() == [read.soma]
    assert navis.read_swc(str(tmp_path / f"{2**53 + 1}.swc")).soma is None


def test_a_skeleton_that_is_no_tree(dataset: Path, tmp_path: Path) -> None:
    make_skeletons(dataset, options(overwrite=True), quiet)
    reader = open_skeletons(dataset / "skeletons")
    radii, kinds = np.ones(3, np.float32), np.zeros(3, np.float32)
    ring = Skeleton(
        np.eye(3, dtype=np.float32), np.array([[0, 1], [1, 2], [2, 0]], np.uint32), {"radius": radii, "vertex_types": kinds}
    )
    (dataset / "skeletons" / "3").write_bytes(encode_skeleton(ring, reader.info.vertex_attributes))
    with pytest.raises(OptionError) as refused:
        write_swc_files(reader, tmp_path, "um", silent)
    assert str(refused.value).startswith("--swc: segment 3 cannot be written (a loop through vertices ")
