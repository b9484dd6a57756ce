"""Boxes and centres of components, from any blocks."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from converters.labels.measuring import block_extents, united_extents
from formats.grid import Grid

SHAPE = (13, 11, 9)


def in_block(whole: NDArray[Any]) -> tuple[NDArray[np.uint32], NDArray[Any]]:
    """Return a block with numbers of its own from 1 on, two for one name where it is 3, and what they are called."""
    own = whole.astype(np.uint32)
    own[:, :, 5:][whole[:, :, 5:] == 3] = 7
    return np.asfortranarray(own), np.array([0, 1, 0, 3, 4, 5, 6, 3], np.uint64)


@given(seed=st.integers(0, 99), edges=st.tuples(*[st.integers(3, 14)] * 3))
@settings(max_examples=25)
def test_extents_from_blocks_are_those_of_the_whole(seed: int, edges: tuple[int, int, int]) -> None:
    whole = np.random.default_rng(seed).choice(7, SHAPE, p=[0.9, 0.02, 0.02, 0.02, 0.02, 0.02, 0])
    found = []
    for cell in (grid := Grid((0, 0, 0), SHAPE, edges)).cells():
        box = grid.chunk_box(cell)
        labels, names = in_block(whole[box.slices()])
        found.append(block_extents(labels, names, box))
    extents = united_extents(6, found)
    for label in (1, 3, 4, 5):
        voxels = np.argwhere(whole == label)
        if len(voxels):
            np.testing.assert_array_equal(extents.begins[label - 1], voxels.min(axis=0))
            np.testing.assert_array_equal(extents.ends[label - 1], voxels.max(axis=0) + 1)
        np.testing.assert_array_equal(extents.sums[label - 1], voxels.sum(axis=0))
    # Label 2 has no name, and there is no label 6.
    assert not extents.sums[[1, 5]].any()
