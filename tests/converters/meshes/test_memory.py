"""The memory that meshing takes, whatever the labels are."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.meshes.blocks import MeshSource, block_surfaces, surfaces_within
from converters.meshes.counting import surface_sizes
from converters.meshes.cubes import raw_surfaces
from converters.meshes.joining import whole_surfaces
from converters.meshes.plan import _TOLERATED
from converters.meshes.simplification import Simplifier
from formats.grid import Box
from tests.converters.meshes.measuring import Labels, scale_of
from tests.converters.meshes.test_blocks import as_sets, assert_closed

RESOLUTION = (11.24, 11.24, 28.0)


@settings(max_examples=20)
@given(shape=st.tuples(*[st.integers(2, 12)] * 3), seed=st.integers(0, 10**6), ids=st.integers(2, 30))
def test_sizes_are_known_before_surfaces_are_made(shape, seed, ids):
    labels = np.asfortranarray(np.random.default_rng(seed).integers(0, ids, shape).astype(np.int32))
    raw, sizes = raw_surfaces(labels, ids), surface_sizes(labels.T, ids)
    # Vertices in the outermost voxels are not all used.
    assert (np.diff(raw.vertex_ends, prepend=0) <= sizes).all()
    padded = np.asfortranarray(np.pad(labels, 1))
    assert surface_sizes(padded.T, ids).tolist() == np.diff(raw_surfaces(padded, ids).vertex_ends, prepend=0).tolist()


@settings(max_examples=8)
@given(
    shape=st.tuples(*[st.integers(1, 18)] * 3),
    seed=st.integers(0, 1000),
    ids=st.sampled_from([2, 5, 1000]),
    room=st.sampled_from([0, 100_000, 1_000_000]),
    max_error=st.sampled_from([None, 8.0, 100.0]),
)
def test_what_takes_too_much_at_once_is_made_in_parts_that_fit(shape, seed, ids, room, max_error):
    voxels = np.random.default_rng(seed).integers(0, ids, shape).astype(np.uint32)
    simplifier = None if max_error is None else Simplifier(RESOLUTION, _TOLERATED * max_error, max_error)
    source, box = MeshSource(Labels(voxels), scale_of(voxels, RESOLUTION), simplifier), Box((0, 0, 0), voxels.shape)
    parts = list(surfaces_within(source, box, room))
    assert room or len(parts) >= max(1, voxels.size // 8**3 // 8)
    whole = whole_surfaces(source, [box], parts)
    assert_closed(whole)
    assert whole.segments.tolist() == sorted(set(np.unique(voxels).tolist()) - {0})
    if simplifier is None:
        assert as_sets(whole) == as_sets(block_surfaces(source, box))
