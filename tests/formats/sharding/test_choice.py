"""Which sharding is chosen, and which chunks lie in a shard."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.grid import Box, Grid, Triple, compressed_morton_code, compressed_morton_codes
from formats.info import Sharding
from formats.sharding.choice import hashed_sharding, shard_cells, shard_shape, volume_sharding
from formats.sharding.ids import places

extent = st.integers(1, 9)
small_grids = st.tuples(extent, extent, extent)
axis = st.integers(1, 3000) | st.integers(1, 40)
grids = st.tuples(axis, axis, axis)


def files_of(grid_shape: Triple, sharding: Sharding) -> int:
    return math.prod(-(-n // m) for n, m in zip(grid_shape, shard_shape(sharding, grid_shape), strict=True))


# By hand: an even grid in shards of 8 x 8 x 8 chunks; a flat one in 32 x 16 (x takes the odd bit); one file for few.
@pytest.mark.parametrize(
    ("grid_shape", "bits", "shape"),
    [((1, 1, 1), (0, 0, 0), (1, 1, 1)), ((2, 1, 1), (1, 0, 0), (2, 1, 1)), ((4, 5, 6), (8, 0, 0), (4, 8, 8)),
     ((64, 64, 64), (9, 0, 9), (8, 8, 8)), ((1000, 1000, 1), (9, 0, 11), (32, 16, 1)),
     ((2000, 1000, 500), (10, 7, 13), (64, 64, 32))],
)  # fmt: skip
def test_shardings_of_volumes_by_hand(grid_shape: Triple, bits: Triple, shape: Triple) -> None:
    sharding = volume_sharding(grid_shape, gzipped=True)
    assert (sharding.preshift_bits, sharding.minishard_bits, sharding.shard_bits) == bits
    assert shard_shape(sharding, grid_shape) == shape
    assert (sharding.hash, sharding.minishard_index_encoding, sharding.data_encoding) == ("identity", "gzip", "gzip")


def test_what_does_not_get_smaller_is_not_packed() -> None:
    assert volume_sharding((9, 9, 9), gzipped=False).data_encoding == "raw"
    assert hashed_sharding(9, gzipped=False).data_encoding == "raw"


@settings(max_examples=300)
@given(grids)
def test_shardings_of_volumes_keep_their_bounds(grid_shape: Triple) -> None:
    sharding = volume_sharding(grid_shape, gzipped=False)
    inside = sharding.preshift_bits + sharding.minishard_bits
    assert inside + sharding.shard_bits == sum((n - 1).bit_length() for n in grid_shape)
    most_files = min(10_000, max(1, math.prod(grid_shape) // 256))
    assert files_of(grid_shape, sharding) <= most_files or inside == 21
    assert sharding.preshift_bits <= 12
    assert 16 << sharding.minishard_bits <= 8192
    # No larger than it must be.
    assert inside <= 9 or files_of(grid_shape, Sharding(inside - 1, 0, sharding.shard_bits + 1)) > most_files


@settings(max_examples=200)
@given(st.integers(1, 400), st.integers(1, 400))
def test_100_000_chunks_are_fewer_than_500_files(x: int, y: int) -> None:
    grid_shape = (x, y, -(-100_000 // (x * y)))
    if 100_000 <= math.prod(grid_shape) < 110_000:
        assert files_of(grid_shape, volume_sharding(grid_shape, gzipped=False)) < 500


@pytest.mark.parametrize("grid_shape", [(1 << 22, 1 << 21, 1 << 21), (1 << 40, 1 << 24, 1)])
def test_the_largest_grids_have_more_files_and_no_larger_indices(grid_shape: Triple) -> None:
    sharding = volume_sharding(grid_shape, gzipped=False)
    assert (sharding.preshift_bits, sharding.minishard_bits, sharding.shard_bits) == (12, 9, 43)


def test_a_grid_of_more_than_64_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 66 bits, a chunk id has 64: use larger chunks"):
        volume_sharding((1 << 22, 1 << 22, 1 << 22), gzipped=False)


@given(st.integers(0, 10**10))
def test_shardings_of_ids_keep_their_bounds(count: int) -> None:
    sharding = hashed_sharding(count, gzipped=True)
    minishards = 1 << sharding.minishard_bits + sharding.shard_bits
    assert count / minishards <= 1000
    assert minishards == 1 or count / minishards > 500
    assert 16 << sharding.minishard_bits <= 8192
    assert sharding.shard_bits == 0 or sharding.minishard_bits == 9
    assert (sharding.hash, sharding.preshift_bits) == ("murmurhash3_x86_128", 0)


def test_ids_spread_evenly() -> None:
    ids = np.arange(1, 50_001, dtype=np.uint64)
    sharding = hashed_sharding(len(ids), gzipped=True)
    _, minishards = places(ids, sharding)
    counts = np.bincount(minishards.astype(int), minlength=1 << sharding.minishard_bits)
    assert counts.max() < 1000


@settings(max_examples=60)
@given(small_grids, st.integers(0, 3), st.integers(0, 3), st.integers(0, 2))
def test_the_cells_of_a_shard_are_those_whose_ids_lie_in_it(grid_shape: Triple, preshift: int, minishard: int, more: int) -> None:
    total = sum((n - 1).bit_length() for n in grid_shape)
    sharding = Sharding(preshift, minishard, max(0, total - preshift - minishard) + more)
    found: dict[int, set[Triple]] = {shard: set() for shard in range(1 << sharding.shard_bits)}
    for cell in Grid((0, 0, 0), grid_shape, (1, 1, 1)).cells():
        code = compressed_morton_code(cell, grid_shape)
        found[code >> preshift + minishard].add(cell)
    for shard, cells in found.items():
        box = shard_cells(shard, sharding, grid_shape)
        assert set(product(*(range(a, b) for a, b in zip(box.start, box.end, strict=True)))) == cells
        assert box.voxels == len(cells)


@pytest.mark.parametrize(
    ("sharding", "message"),
    [
        (Sharding(0, 0, 9, "murmurhash3_x86_128"), "are no cuboids in a grid"),
        (Sharding(3, 0, 5), r"are no cuboids in a grid of \(8, 8, 8\) chunks"),
        (Sharding(9, 0, 0), "shard 1 is not there: there are 1"),
    ],
)
def test_shards_that_are_no_cuboids_are_refused(sharding: Sharding, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shard_cells(1, sharding, (8, 8, 8))


def test_all_of_a_small_grid_lies_in_one_shard() -> None:
    assert shard_cells(0, Sharding(20, 0, 0), (3, 2, 1)) == Box((0, 0, 0), (3, 2, 1))


@given(st.tuples(*[st.integers(1, 1 << 21)] * 3), st.data())
def test_many_codes_at_once_are_those_of_one_by_one(grid_shape: Triple, data: st.DataObject) -> None:
    cell = st.tuples(*(st.integers(0, n - 1) for n in grid_shape))
    cells = data.draw(st.lists(cell, max_size=6))
    expected = [compressed_morton_code((x, y, z), grid_shape) for x, y, z in cells]
    assert compressed_morton_codes(np.array(cells, np.int64).reshape(-1, 3), grid_shape).tolist() == expected


def test_a_cell_outside_its_grid_is_refused_among_many() -> None:
    with pytest.raises(ValueError, match=r"grid position \(1, 2, 0\) lies outside the grid of \(2, 2, 1\) chunks"):
        compressed_morton_codes(np.array([[0, 0, 0], [1, 2, 0]]), (2, 2, 1))
    with pytest.raises(ValueError, match=r"grid position \(-1, 0, 0\) lies outside"):
        compressed_morton_codes(np.array([[-1, 0, 0]]), (2, 2, 1))
