"""Neurites side by side, traced in blocks, against kimimaro on the whole volume with the same parameters."""

import kimimaro
import numpy as np
import pytest

from benchmarks.neurites import neurites
from benchmarks.peers.run_kimimaro import PARAMETERS
from benchmarks.skeleton_quality import Agreement, Labels, Traced, agreement
from converters.skeletons import plan
from converters.skeletons.conversion import make_skeletons
from converters.skeletons.options import SkeletonizeOptions
from formats.grid import Grid
from tests.converters.skeletons.datasets import quiet, segmentation, skeletons

SHAPE, BLOCK, RESOLUTION = (128, 128, 96), (64, 128, 48), (32.0, 32.0, 40.0)
CONST, DUST = 300.0, 250
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Agreement:
    """Both sides' skeletons of made labels, compared."""
    labels = neurites(SHAPE)
    dataset = segmentation(tmp_path_factory.mktemp("dense"), labels, resolution=RESOLUTION)
    told = SkeletonizeOptions(executor="serial", const=CONST, dust_threshold=DUST, max_paths=50)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "_block", lambda scale, budget: BLOCK)
        make_skeletons(dataset, told, quiet)
    ours = {
        segment: Traced(np.rint(one.vertices / np.array(RESOLUTION) - 0.5).astype(np.int64), one.edges.astype(np.int64))
        for segment, one in skeletons(dataset).items()
    }
    whole = kimimaro.skeletonize(
        np.asfortranarray(labels),
        teasar_params={**PARAMETERS, "const": CONST},
        anisotropy=RESOLUTION,
        dust_threshold=DUST,
        progress=False,
    )
    theirs = {
        segment: Traced(np.rint(one.vertices / np.array(RESOLUTION)).astype(np.int64), one.edges.astype(np.int64))
        for segment, one in whole.items()
    }
    return agreement(ours, theirs, Labels.of(labels, RESOLUTION), Grid((0, 0, 0), SHAPE, BLOCK))


def test_vertices_lie_inside_their_label(found: Agreement) -> None:
    assert found.inside == 1.0


def test_the_cable_is_as_long(found: Agreement) -> None:
    ours, theirs = found.cable
    assert theirs > 20_000
    assert ours == pytest.approx(theirs, rel=0.05)


def test_each_piece_is_in_as_many_trees(found: Agreement) -> None:
    assert found.pieces > 25
    assert (found.split, found.only_ours, found.only_theirs) == (0, 0, 0)


def test_there_are_no_more_dead_ends_where_blocks_meet(found: Agreement) -> None:
    ours, by_chance = found.at_faces
    assert ours <= by_chance + 2 * by_chance**0.5


def test_both_run_in_the_same_places(found: Agreement) -> None:
    assert min(found.near) >= 0.95
