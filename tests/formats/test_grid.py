"""Boxes, chunk grids, chunk names and the compressed Morton code."""

import pickle

import pytest
import tensorstore as ts
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.errors import ChunkNameError
from formats.grid import Box, Grid, Triple, chunk_name, compressed_morton_code, parse_chunk_name

coordinate = st.integers(-(1 << 40), 1 << 40)
extent = st.integers(1, 1 << 20)


def triples(numbers: st.SearchStrategy[int]) -> st.SearchStrategy[Triple]:
    return st.tuples(numbers, numbers, numbers)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    start = draw(triples(coordinate))
    return Box((0, 0, 0), draw(triples(extent))).shifted(start)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    return Grid(draw(triples(st.integers(-70, 70))), draw(triples(st.integers(1, 12))), draw(triples(st.integers(1, 9))))


# Names by hand, from the format's rule: absolute voxels, upper ends cut, lower ends whole.
NAMES = [
    (Grid((0, 0, 0), (100, 64, 65), (64, 64, 64)), (1, 0, 1), "64-100_0-64_64-65"),
    (Grid((-64, 3, -1), (128, 10, 1), (64, 8, 64)), (0, 0, 0), "-64-0_3-11_-1-0"),
    (Grid((-64, 3, -1), (128, 10, 1), (64, 8, 64)), (1, 1, 0), "0-64_11-13_-1-0"),
    (Grid((-200, 0, 0), (72, 1, 1), (64, 1, 1)), (1, 0, 0), "-136--128_0-1_0-1"),
]


@pytest.mark.parametrize(("grid", "cell", "name"), NAMES)
def test_names_both_ways(grid: Grid, cell: Triple, name: str) -> None:
    assert chunk_name(grid.chunk_box(cell)) == name
    assert parse_chunk_name(name) == grid.chunk_box(cell)


@given(boxes())
def test_every_name_is_read_back(box: Box) -> None:
    assert parse_chunk_name(chunk_name(box)) == box


@pytest.mark.parametrize(
    "name",
    ["", "0-64_0-64", "0-64_0-64_0-64_0-64", "0-64_0-64_0-6x", "+0-64_0-64_0-64", "0-64_0-64_0-64\n", " 0-64_0-64_0-64",
     "0_64_0_64_0_64", "0-64_0-64_0-6.4", "٠-64_0-64_0-64", "../0-64_0-64_0-64", f"0-{'9' * 5000}_0-1_0-1"],
)  # fmt: skip
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ChunkNameError, match="expected x0-x1_y0-y1_z0-z1 with whole numbers"):
        parse_chunk_name(name)


@pytest.mark.parametrize("name", ["00-64_0-64_0-64", "-0-64_0-64_0-64", "64-64_0-64_0-64", "64-0_0-64_0-64", "0-64_0-064_0-64"])
def test_a_name_that_the_viewer_would_write_otherwise_is_refused(name: str) -> None:
    with pytest.raises(ChunkNameError, match="expected each begin below its end, written without leading zeros"):
        parse_chunk_name(name)


@given(st.text(alphabet="0123456789-_ x", max_size=30))
def test_a_name_is_taken_only_as_it_is_written(name: str) -> None:
    try:
        box = parse_chunk_name(name)
    except ChunkNameError:
        return
    assert chunk_name(box) == name
    assert min(box.shape) >= 1


@given(grids())
def test_chunks_cover_the_scale_once(grid: Grid) -> None:
    chunks = [grid.chunk_box(cell) for cell in grid.cells()]
    assert len(chunks) == grid.shape[0] * grid.shape[1] * grid.shape[2]
    assert sum(chunk.voxels for chunk in chunks) == grid.box.voxels
    assert len({chunk.start for chunk in chunks}) == len(chunks)
    for chunk in chunks:
        assert chunk.intersection(grid.box) == chunk
        assert all(0 < n <= size for n, size in zip(chunk.shape, grid.chunk_size, strict=True))


def test_cells_come_x_fastest() -> None:
    assert list(Grid((5, 5, 5), (3, 2, 2), (2, 2, 1)).cells()) == [(0, 0, 0), (1, 0, 0), (0, 0, 1), (1, 0, 1)]


@given(grids(), triples(st.integers(-90, 90)), triples(st.integers(0, 30)))
def test_the_chunks_of_a_box_are_those_that_begin_in_it(grid: Grid, start: Triple, shape: Triple) -> None:
    box = Box((0, 0, 0), shape).shifted(start)
    inside = [
        cell
        for cell in grid.cells()
        if all(a <= s < b for a, s, b in zip(box.start, grid.chunk_box(cell).start, box.end, strict=True))
    ]
    assert list(grid.cells_within(box)) == inside


@given(grids(), triples(st.integers(-90, 90)), triples(st.integers(0, 30)))
def test_the_chunks_that_meet_a_box(grid: Grid, start: Triple, shape: Triple) -> None:
    box = Box((0, 0, 0), shape).shifted(start)
    meeting = [cell for cell in grid.cells() if grid.chunk_box(cell).intersection(box).voxels]
    assert list(grid.cells_meeting(box)) == meeting


def test_boxes_meet_join_and_move() -> None:
    one, other = Box((0, 0, 0), (4, 4, 4)), Box((2, -1, 4), (9, 3, 5))
    assert one.intersection(other) == Box((2, 0, 4), (4, 3, 4))
    assert one.intersection(other).voxels == 0
    assert one.union(other) == Box((0, -1, 0), (9, 4, 5))
    assert other.shifted((-2, 1, -4)) == Box((0, 0, 0), (7, 4, 1))
    assert other.slices((2, -2, 0)) == (slice(0, 7), slice(1, 5), slice(4, 5))
    assert Box((3, 3, 3), (1, 1, 9)).voxels == 0


def test_grids_travel_to_workers() -> None:
    grid = Grid((1, 2, 3), (4, 5, 6), (7, 8, 9))
    assert pickle.loads(pickle.dumps(grid)) == grid


def plain_morton_code(cell: Triple, grid_shape: Triple) -> int:
    """The sentence of sharded.md word for word: bit i of an axis is there while 2**i is below the axis's number of chunks."""
    digits = ""
    for i in range(64):
        for axis in (0, 1, 2):
            if 2**i < grid_shape[axis]:
                digits = f"{cell[axis]:064b}"[::-1][i] + digits
    return int("0" + digits, 2)


# By hand: axes of 4, 2 and 1 chunks have 2, 1 and 0 bits, in the order x0 y0 x1 from the lowest.
@pytest.mark.parametrize(
    ("cell", "grid_shape", "code"),
    [((1, 0, 0), (4, 2, 1), 0b001), ((0, 1, 0), (4, 2, 1), 0b010), ((2, 0, 0), (4, 2, 1), 0b100), ((3, 1, 0), (4, 2, 1), 0b111),
     ((0, 0, 0), (1, 1, 1), 0), ((4, 2, 2), (5, 3, 3), 0b1110000)],
)  # fmt: skip
def test_morton_codes_by_hand(cell: Triple, grid_shape: Triple, code: int) -> None:
    assert compressed_morton_code(cell, grid_shape) == code


@given(st.data(), triples(st.integers(1, 1 << 21)))
def test_morton_code_is_the_plain_one(data: st.DataObject, grid_shape: Triple) -> None:
    cell = tuple(data.draw(st.integers(0, n - 1)) for n in grid_shape)
    assert compressed_morton_code(cell, grid_shape) == plain_morton_code(cell, grid_shape)


@settings(max_examples=15)
@given(triples(st.integers(1, 6)))
def test_morton_codes_are_where_tensorstore_puts_the_chunks(grid_shape: Triple) -> None:
    """With as many shards as chunks, a shard's file is named by the chunk's code alone."""
    bits = sum((n - 1).bit_length() for n in grid_shape)
    sharding = {"@type": "neuroglancer_uint64_sharded_v1", "hash": "identity", "preshift_bits": 0, "minishard_bits": 0}
    spec = {
        "driver": "neuroglancer_precomputed", "kvstore": "memory://", "create": True,
        "multiscale_metadata": {"type": "image", "data_type": "uint8", "num_channels": 1},
        "scale_metadata": {"key": "s", "size": grid_shape, "resolution": [1, 1, 1], "chunk_size": [1, 1, 1], "encoding": "raw",
                           "sharding": sharding | {"shard_bits": bits}},
    }  # fmt: skip
    store = ts.open(spec).result()
    cell = tuple(n - 1 for n in grid_shape)
    store[(*cell, 0)] = 7
    shard = f"{compressed_morton_code(cell, grid_shape):x}".zfill(-(-bits // 4)) if bits else "0"
    assert f"s/{shard}.shard".encode() in store.kvstore.list().result()


def test_a_morton_code_outside_its_grid_is_refused() -> None:
    with pytest.raises(ValueError, match=r"grid position \(4, 0, 0\) lies outside the grid of \(4, 2, 1\) chunks"):
        compressed_morton_code((4, 0, 0), (4, 2, 1))
    with pytest.raises(ValueError, match="needs 66 bits, a chunk id has 64: use larger chunks"):
        compressed_morton_code((0, 0, 0), (1 << 22, 1 << 22, 1 << 22))


@given(st.tuples(*[st.integers(-40, 40)] * 3), st.tuples(*[st.integers(1, 60)] * 3), st.tuples(*[st.integers(1, 20)] * 3))
def test_each_chunk_is_found_by_its_name_alone(offset: Triple, size: Triple, chunk_size: Triple) -> None:
    grid = Grid(offset, size, chunk_size)
    x, y, z = (n - 1 for n in grid.shape)
    for cell in ((0, 0, 0), (x, y, z), (x, 0, z)):
        assert grid.cell_of(chunk_name(grid.chunk_box(cell))) == cell
    box = grid.chunk_box((x, y, z))
    for other in (
        Box(box.start, (box.end[0] + 1, *box.end[1:])),
        box.shifted((0, 0, chunk_size[2])),
        box.shifted((-(10**6), 0, 0)),
    ):
        assert grid.cell_of(chunk_name(other)) is None
    assert grid.cell_of("0-1_0-1") is grid.cell_of("info") is None
