"""The labels of blocks read back as one source."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from converters.labels.components import Rule, block_components
from converters.labels.labelled import LabelledSource
from converters.labels.measuring import block_extents
from converters.labels.spool import LabelSpool, Measured
from converters.sources.opening import open_source
from converters.sources.source import SourceOptions
from formats.grid import Box, Grid

SHAPE = (23, 17, 19)


@pytest.fixture
def spool(tmp_path: Path) -> LabelSpool:
    return LabelSpool(tmp_path / "spool", Grid((0, 0, 0), SHAPE, (8, 12, 8)), (4, 4, 4))


@pytest.mark.parametrize("dtype", ["u4", "u8"])
def test_any_box_is_that_of_the_whole(dtype: str, spool: LabelSpool, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    values = np.asfortranarray(rng.integers(0, 100, SHAPE).astype("u1"))
    values[8:16, 12:17, :8] = 0
    np.save(tmp_path / "grey.npy", values)
    grey = open_source(tmp_path / "grey.npy", SourceOptions(axes="xyz", resolution=(4, 4, 40), voxel_offset=(1, 2, 3)))
    source = LabelledSource(grey, spool, np.dtype(dtype))
    expected, names, starts = _written(spool, values, np.dtype(dtype))
    source.write_names(names, starts)
    again = pickle.loads(pickle.dumps(source))
    for _ in range(40):
        low = [int(rng.integers(0, n)) for n in SHAPE]
        high = [int(rng.integers(a + 1, n + 1)) for a, n in zip(low, SHAPE, strict=True)]
        box = Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))
        read = again.read(box)
        assert (read.dtype, read.shape) == (np.dtype(dtype), (*box.shape, 1))
        np.testing.assert_array_equal(read[..., 0], expected[box.slices()])
    assert (again.label, again.num_channels, again.block, again.shape) == (True, 1, (4, 4, 4), SHAPE)
    assert (again.geometry, again.fingerprint(), again.name) == (grey.geometry, grey.fingerprint(), grey.name)
    assert again.spooled(tmp_path, lambda done, total: None) is again


def _written(
    spool: LabelSpool, values: NDArray[Any], dtype: np.dtype[Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
    """Write all blocks, and return what is to be read, the names, and where each block's begin."""
    expected = np.zeros(SHAPE, dtype)
    names, starts = [np.zeros(0, dtype)], [0]
    for cell in spool.blocks.cells():
        box = spool.blocks.chunk_box(cell)
        block = block_components(values[box.slices()], box, SHAPE, Rule(60, 6))
        spool.write(cell, block, 0, 99.0)
        own = np.arange(len(block.sizes), dtype=dtype) * 7 + (1 << (33 if dtype.itemsize == 8 else 20)) + starts[-1]
        expected[box.slices()] = np.concatenate([np.zeros(1, dtype), own])[block.labels]
        names.append(own)
        starts.append(starts[-1] + len(own))
    return expected, np.concatenate(names), np.array(starts)


def test_what_a_block_leaves_is_read_back(spool: LabelSpool) -> None:
    values = np.asfortranarray(np.random.default_rng(3).random(SHAPE, np.float32))
    box = spool.blocks.chunk_box((1, 1, 1))
    block = block_components(values[box.slices()], box, SHAPE, Rule(0.5, 26, 0.1, 3))
    spool.write((1, 1, 1), block, 5, 0.75)
    table = spool.table((1, 1, 1))
    assert (table.found, table.largest_left_out, table.foreground) == (block.found, block.largest_left_out, block.foreground)
    assert (table.unordered, table.highest) == (5, 0.75)
    np.testing.assert_array_equal(table.sizes, block.sizes)
    np.testing.assert_array_equal(table.firsts, block.firsts)
    faces = spool.faces((1, 1, 1))
    assert set(faces.labels) == set(faces.values) == {(0, 0), (0, 1), (1, 0), (2, 0), (2, 1)}
    bright = values[..., 0] > 0.5
    spool.write_bright((1, 1, 1), bright)
    np.testing.assert_array_equal(spool.bright((1, 1, 1)), bright)
    ids, extents = block_extents(block.labels, np.arange(len(block.sizes) + 1), box)
    spool.write_measured((1, 1, 1), Measured(ids, extents, block.labels.max(axis=2)))
    measured = spool.measured((1, 1, 1))
    np.testing.assert_array_equal(measured.ids, ids)
    np.testing.assert_array_equal(measured.shown, block.labels.max(axis=2))
    for name, rows in vars(extents).items():
        np.testing.assert_array_equal(getattr(measured.extents, name), rows)
    for place, face in block.faces.items():
        np.testing.assert_array_equal(faces.labels[place], face)
        np.testing.assert_array_equal(faces.values[place], block.values[place])
