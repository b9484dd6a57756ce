from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.errors import DatasetError
from converters.storage.flat import FlatStorage
from converters.storage.nested import NestedStorage
from converters.volumes.reader import VolumeReader
from formats.grid import Box, chunk_name
from formats.info import Scale, VolumeInfo

SCALE = Scale("s", (20, 13, 9), (8.0, 8.0, 8.0), ((8, 8, 8),), "raw", voxel_offset=(-5, 3, 0))
INFO = VolumeInfo("image", "uint16", 2, (SCALE,))
VOXELS = np.arange(20 * 13 * 9 * 2, dtype="uint16").reshape(20, 13, 9, 2)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> VolumeReader:
    storage = FlatStorage(tmp_path_factory.mktemp("dataset"))
    grid = SCALE.grid()
    for cell in grid.cells():
        box = grid.chunk_box(cell)
        storage.put(f"s/{chunk_name(box)}", VOXELS[box.slices((-5, 3, 0))].tobytes("F"), compressible=True)
    return VolumeReader(storage, INFO)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_box(reader: VolumeReader, data: st.DataObject) -> None:
    start, end = zip(
        *(sorted(data.draw(st.tuples(*[st.integers(a, b)] * 2))) for a, b in ((-5, 15), (3, 16), (0, 9))), strict=True
    )
    box = Box((start[0], start[1], start[2]), (end[0], end[1], end[2]))
    np.testing.assert_array_equal(reader.read(SCALE, box), VOXELS[box.slices((-5, 3, 0))])


def test_a_chunk_that_is_absent_is_zeros(tmp_path: Path) -> None:
    found = VolumeReader(NestedStorage(tmp_path), INFO).read(SCALE, SCALE.grid().box)
    assert found.shape == VOXELS.shape
    assert not found.any()


@pytest.mark.parametrize(("name", "data"), [("3-11/0-8", b"too short"), ("3-11/0-8.gz", b"\x1f\x8b no gzip")])
def test_a_chunk_that_cannot_be_read_is_told_and_no_zeros(name: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "s/-5-3" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    with pytest.raises(DatasetError) as caught:
        VolumeReader(NestedStorage(tmp_path), INFO).read(SCALE, SCALE.grid().box)
    assert str(caught.value).startswith(f"{tmp_path}/s/-5-3_3-11_0-8: ")
