"""Components from blocks against those of the whole array, and their names."""

import tracemalloc
from itertools import product
from typing import Any

import cc3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from converters.labels.components import Rule, block_components
from converters.labels.joining import BlockFaces, Components, joins, label_type, named, united
from formats.grid import Grid, Triple
from tests.converters.labels import reference


def labelled(values: NDArray[Any], block: Triple, rule: Rule) -> tuple[NDArray[np.int64], Components, int]:
    """Return the labels of values from blocks, the components, and how many were left out in blocks."""
    x, y, z = values.shape
    grid = Grid((0, 0, 0), (x, y, z), block)
    parts = {
        cell: block_components(values[grid.chunk_box(cell).slices()], grid.chunk_box(cell), grid.size, rule)
        for cell in grid.cells()
    }
    begins = np.cumsum([0, *(len(part.sizes) for part in parts.values())])
    starts = dict(zip(parts, begins.tolist(), strict=False))
    pairs = joins(grid, starts, lambda cell: BlockFaces(parts[cell].faces, parts[cell].values), rule)
    sizes, firsts = (np.concatenate([getattr(part, name) for part in parts.values()]) for name in ("sizes", "firsts"))
    components = named(sizes, firsts, united(len(sizes), pairs), rule)
    labels = np.zeros(values.shape, np.int64)
    for (cell, part), begin in zip(parts.items(), begins, strict=False):
        names = np.concatenate([[0], components.names[begin : begin + len(part.sizes)]])
        labels[grid.chunk_box(cell).slices()] = names[part.labels]
    return labels, components, sum(part.found - len(part.sizes) for part in parts.values())


extents = st.tuples(*[st.integers(1, 8)] * 3)
rules = st.builds(
    Rule,
    threshold=st.sampled_from([0.0, 20.0, 49.5, 80.0]),
    connectivity=st.sampled_from([6, 18, 26]),
    delta=st.none() | st.integers(0, 40).map(float),
    min_size=st.sampled_from([1, 1, 2, 5]),
    max_size=st.sampled_from([None, None, 12]),
)


@settings(max_examples=150)
@given(extents, st.tuples(*[st.integers(1, 5)] * 3), rules, st.sampled_from(["u1", "i2", "f4", "f8"]), st.integers(0, 1 << 32))
def test_blocks_give_what_the_whole_gives(shape: Triple, block: Triple, rule: Rule, dtype: str, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 100, shape).astype(dtype)
    labels, components, left_out = labelled(values, block, rule)
    whole = reference.components(values, rule.threshold, rule.connectivity, rule.delta)
    expected = reference.named(whole, rule.min_size, rule.max_size)
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(components.sizes, np.bincount(expected.ravel())[1:])
    flat = expected.ravel(order="F")
    assert components.firsts.tolist() == [int(np.flatnonzero(flat == n)[0]) for n in range(1, len(components.sizes) + 1)]
    assert components.found + left_out == len(np.unique(whole[whole > 0]))


@pytest.mark.parametrize("connectivity", [6, 18, 26])
@pytest.mark.parametrize("delta", [None, 30.0])
def test_larger_blocks_give_what_cc3d_gives(connectivity: Any, delta: float | None) -> None:
    values = np.asfortranarray(np.random.default_rng(5).integers(0, 100, (60, 50, 40)).astype("u1"))
    rule = Rule(70.0, connectivity, delta)
    labels, _, _ = labelled(values, (17, 16, 23), rule)
    dark = np.where(values > 70, values, 0) if delta else (values > 70).astype("u1")
    expected = cc3d.connected_components(np.asfortranarray(dark), connectivity=connectivity, delta=delta or 0)
    np.testing.assert_array_equal(labels, reference.named(expected))


@pytest.mark.parametrize("connectivity", [6, 18, 26])
def test_two_voxels_are_joined_just_where_they_are_neighbours(connectivity: Any) -> None:
    """Each of the 26 places beside a voxel, for each place of the voxel in its block of 2 x 2 x 2."""
    for corner, step in product(product((1, 2), repeat=3), product((-1, 0, 1), repeat=3)):
        values = np.zeros((4, 4, 4), np.uint8)
        values[corner] = values[tuple(c + s for c, s in zip(corner, step, strict=True))] = 9
        distance = sum(map(abs, step))
        expected = 1 if distance <= reference.AXES[connectivity] else 2
        assert len(labelled(values, (2, 2, 2), Rule(0, connectivity))[1].sizes) == expected


def test_a_spiral_through_many_blocks_is_one_component() -> None:
    values = np.zeros((33, 33, 1), np.uint8)
    for ring in range(0, 16, 2):
        values[ring, ring : 33 - ring] = values[32 - ring, ring : 33 - ring] = 1
        values[ring : 33 - ring, 32 - ring] = values[ring + 2 : 33 - ring, ring] = 1
        values[ring + 2, ring : ring + 3] = 1
        values[ring, ring + 1 : ring + 2] = 1
    values[16, 16] = 1
    whole = reference.named(reference.components(values, 0, 6))
    labels, components, _ = labelled(values, (4, 4, 1), Rule(0, 6))
    np.testing.assert_array_equal(labels, whole)
    assert len(components.sizes) == whole.max()


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 5, 1), (7, 1, 1), (3, 3, 3), (5, 5, 5)])
def test_as_many_components_as_fit(shape: Triple) -> None:
    values = np.zeros(shape, np.uint8)
    values[::2, ::2, ::2] = 1
    for connectivity in (6, 18, 26):
        assert len(labelled(values, shape, Rule(0, connectivity))[1].sizes) == values.sum()  # type: ignore[arg-type]


def test_names_are_wide_enough() -> None:
    assert label_type((1 << 32) - 1) == np.uint32
    assert label_type(1 << 32) == np.uint64


def test_pairs_in_many_batches_unite_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converters.labels.joining._PAIRS_AT_A_TIME", 3)
    chain = np.stack([np.arange(99), np.arange(1, 100)], axis=1)
    order = np.random.default_rng(0).permutation(99)
    groups = united(101, (chain[[row]] for row in order))
    assert len(set(groups[:100].tolist())) == 1
    assert groups[100] != groups[0]
    assert sorted(set(groups.tolist())) == [0, 1]


def test_memory_is_that_of_the_components() -> None:
    count = 200_000
    rng = np.random.default_rng(0)
    sizes, firsts = rng.integers(1, 9, count), rng.permutation(count)
    pairs = rng.integers(0, count, (count // 4, 2))
    tracemalloc.start()
    named(sizes, firsts, united(count, iter([pairs])), Rule(0, 26))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # sizes and firsts are there before.
    assert peak / count < 120 - 16
