"""Skeletons of volumes of which the skeleton is known, traced whole and in blocks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from converters.skeletons import plan
from converters.skeletons.conversion import make_skeletons
from formats.grid import Triple
from formats.skeletons.skeleton import Skeleton
from tests.converters.skeletons.datasets import options, quiet, segmentation, skeletons
from tests.converters.skeletons.phantoms import (
    FORKED_SOMA,
    PHANTOMS,
    SHAPE,
    Phantom,
    ball,
    distance,
    forked,
    holed,
    in_two_pieces,
    soma,
    tube,
)

BLOCKS = {"whole": SHAPE, "halves": (50, 72, 60), "eighths": (48, 48, 48)}


def traced(
    phantom: Phantom, block: Triple, folder: Path, monkeypatch: pytest.MonkeyPatch, **given: object
) -> dict[int, Skeleton]:
    monkeypatch.setattr(plan, "_block", lambda size, budget: block)
    dataset = segmentation(folder, phantom.labels)
    make_skeletons(dataset, options(**given), quiet)
    return skeletons(dataset)


def trees(skeleton: Skeleton) -> int:
    """Return how many trees there are; a closed loop fails."""
    group = list(range(len(skeleton.vertices)))

    def root(vertex: int) -> int:
        while group[vertex] != vertex:
            vertex = group[vertex]
        return vertex

    for a, b in skeleton.edges.tolist():
        assert root(a) != root(b), "a loop"
        group[root(a)] = root(b)
    return sum(group[vertex] == vertex for vertex in range(len(group)))


def inner(skeleton: Skeleton, voxels: NDArray[Any]) -> NDArray[Any]:
    """Return the vertices that are not near an end point, where a path leads to the farthest voxel."""
    ends = voxels[skeleton.degrees == 1]
    return voxels[np.linalg.norm(voxels[:, np.newaxis] - ends, axis=2).min(axis=1) > 10]


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
@pytest.mark.parametrize("made", PHANTOMS)
def test_trees_end_points_and_the_middle(
    made: Callable[[], Phantom], block: Triple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phantom = made()
    found = traced(phantom, block, tmp_path, monkeypatch, fill_holes=made is holed)
    assert {segment: trees(skeleton) for segment, skeleton in found.items()} == phantom.trees
    assert {segment: int((skeleton.degrees == 1).sum()) for segment, skeleton in found.items()} == phantom.ends
    for segment, skeleton in found.items():
        voxels = skeleton.vertices / 32 - 0.5
        if made is not holed:
            assert (phantom.labels[tuple(np.rint(voxels).astype(int).T)] == segment).all()
        middle = inner(skeleton, voxels)
        if made is soma:
            middle = middle[np.linalg.norm(middle - (50, 36, 30), axis=1) > 16]
        assert np.min([distance(middle, line) for line in phantom.lines], axis=0).max() <= 2


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_the_root_lies_in_the_soma(block: Triple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skeleton = traced(soma(), block, tmp_path, monkeypatch)[3]
    root = skeleton.vertices[skeleton.attributes["radius"].argmax()] / 32 - 0.5
    assert np.linalg.norm(root - (50, 36, 30)) <= 2
    assert skeleton.attributes["vertex_types"][skeleton.attributes["radius"].argmax()] == 1


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_only_what_begins_at_the_soma_is_tied_to_its_middle(
    block: Triple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phantom = forked()
    skeleton = traced(phantom, block, tmp_path, monkeypatch)[3]
    ends = (skeleton.vertices / 32 - 0.5)[skeleton.edges]
    along = np.concatenate([part * ends[:, 0] + (1 - part) * ends[:, 1] for part in np.linspace(0, 1, 30)])
    outside = along[np.linalg.norm(along - FORKED_SOMA, axis=1) > 16]
    assert (trees(skeleton), int((skeleton.degrees == 1).sum())) == (1, 3)
    assert np.min([distance(outside, line) for line in phantom.lines], axis=0).max() <= 4


CROPS = {"whole": (3, 2, 7), "in blocks": (4, 2, 13)}
"""Voxels that are cut off at the lower faces, more than which no phantom has free; what is traced begins somewhere else then."""


@pytest.mark.parametrize("block", [BLOCKS["whole"], BLOCKS["halves"]], ids=["whole", "halves"])
def test_a_nucleus_of_its_own_is_given_to_its_cell(block: Triple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = soma().labels
    labels[ball((48, 36, 30), 8)] = 5
    phantom = Phantom(labels, {}, {}, ())
    without = traced(phantom, block, tmp_path / "without", monkeypatch)
    assert sorted(without) == [3, 5]
    found = traced(phantom, block, tmp_path / "with", monkeypatch, fix_avocados=True)
    assert sorted(found) == [3]
    assert trees(found[3]) == 1


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("made", PHANTOMS)
def test_a_crop_that_leaves_the_object_whole_changes_no_count(
    crop: str, made: Callable[[], Phantom], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phantom = made()
    free = [int(places.min()) for places in np.nonzero(phantom.labels)]
    x, y, z = (min(cut, room) for cut, room in zip(CROPS[crop], free, strict=True))
    cropped = replace(phantom, labels=phantom.labels[x:, y:, z:])
    assert (cropped.labels > 0).sum() == (phantom.labels > 0).sum()
    block = SHAPE if crop == "whole" else BLOCKS["eighths"]
    found = traced(cropped, block, tmp_path, monkeypatch, fill_holes=made is holed)
    assert {segment: trees(skeleton) for segment, skeleton in found.items()} == phantom.trees
    assert {segment: int((skeleton.degrees == 1).sum()) for segment, skeleton in found.items()} == phantom.ends


def test_the_cable_of_a_tube_is_its_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, block in BLOCKS.items():
        cable = traced(tube(), block, tmp_path / name, monkeypatch)[3].cable_length
        assert cable == pytest.approx(94 * 32, rel=0.05)


def test_one_segment_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    phantom = in_two_pieces()
    labels = phantom.labels.copy()
    labels[8:92, 30:34, 50:54] = 9
    found = traced(Phantom(labels, {}, {}, ()), SHAPE, tmp_path, monkeypatch, segments="3")
    assert list(found) == [3]
    assert trees(found[3]) == 2
