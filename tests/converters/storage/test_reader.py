import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore as ts
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.errors import DatasetError
from converters.storage.flat import FlatStorage
from converters.storage.nested import NestedStorage
from converters.storage.reader import VolumeReader
from formats.grid import Box, Triple, chunk_name
from formats.info import Scale, VolumeInfo, parse_volume_info
from tests.formats.sharding.shards import our_shards

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


def sharded_by_tensorstore(folder: Path, voxels: Any, scale: dict[str, Any]) -> VolumeInfo:
    """Return the info of a volume that tensorstore has written into folder."""
    spec = {
        "driver": "neuroglancer_precomputed", "kvstore": f"file://{folder}/", "create": True,
        "multiscale_metadata": {"type": "image", "data_type": voxels.dtype.name, "num_channels": voxels.shape[3]},
        "scale_metadata": {"key": "s", "size": voxels.shape[:3], "resolution": [8, 8, 8], "encoding": "raw"} | scale,
    }  # fmt: skip
    ts.open(spec).result()[ts.d[:].translate_to[0]] = voxels
    return parse_volume_info((folder / "info").read_bytes())


small = st.integers(0, 3)
extents = st.tuples(*[st.integers(1, 20)] * 3)


@st.composite
def shardings(draw: st.DrawFn) -> dict[str, Any]:
    encoding = st.sampled_from(["raw", "gzip"])
    bits = {"preshift_bits": draw(small), "minishard_bits": draw(small), "shard_bits": draw(small)}
    hashed = {"hash": draw(st.sampled_from(["identity", "murmurhash3_x86_128"]))}
    encodings = {"minishard_index_encoding": draw(encoding), "data_encoding": draw(encoding)}
    return {"@type": "neuroglancer_uint64_sharded_v1", **bits, **hashed, **encodings}


@given(
    shape=extents,
    chunk_size=st.tuples(*[st.integers(3, 7)] * 3),
    sharding=shardings(),
    offset=st.tuples(*[st.integers(-50, 50)] * 3),
)
@settings(max_examples=40, deadline=None)
def test_shards_of_tensorstore(
    tmp_path_factory: pytest.TempPathFactory, shape: Triple, chunk_size: Triple, sharding: dict[str, Any], offset: Triple
) -> None:
    folder = tmp_path_factory.mktemp("sharded")
    voxels = np.random.default_rng(0).integers(1, 60_000, (*shape, 2)).astype("uint16")
    scale = {"chunk_size": chunk_size, "voxel_offset": offset, "sharding": sharding}
    info = sharded_by_tensorstore(folder, voxels, scale)
    reader = VolumeReader(FlatStorage(folder), info)
    box = info.scales[0].grid().box
    np.testing.assert_array_equal(reader.read(info.scales[0], box), voxels)
    part = Box((box.end[0] - 1, box.start[1], box.start[2] + shape[2] // 2), box.end)
    np.testing.assert_array_equal(reader.read(info.scales[0], part), voxels[part.slices(box.start)])


@pytest.fixture
def sharded(tmp_path: Path) -> VolumeReader:
    sharding = {"@type": "neuroglancer_uint64_sharded_v1", "hash": "identity", "preshift_bits": 2, "minishard_bits": 1,
                "shard_bits": 1, "minishard_index_encoding": "gzip", "data_encoding": "gzip"}  # fmt: skip
    voxels = np.arange(1, 513, dtype="uint16").reshape(8, 8, 8, 1)
    info = sharded_by_tensorstore(tmp_path, voxels, {"chunk_size": [4, 4, 2], "sharding": sharding})
    return VolumeReader(FlatStorage(tmp_path), info)


def test_an_absent_shard_is_zeros(sharded: VolumeReader, tmp_path: Path) -> None:
    (tmp_path / "s/1.shard").unlink()
    found = sharded.read(sharded.info.scales[0], Box((0, 0, 0), (8, 8, 8)))
    np.testing.assert_array_equal(found[:, :, :4, 0], np.arange(1, 513).reshape(8, 8, 8)[:, :, :4])
    assert not found[:, :, 4:].any()


def test_a_damaged_shard_is_told_and_no_zeros(sharded: VolumeReader, tmp_path: Path) -> None:
    shard = tmp_path / "s/1.shard"
    shard.write_bytes(shard.read_bytes()[:-3])
    with pytest.raises(
        DatasetError,
        match=rf"^{tmp_path}/s/0-4_0-4_6-8: 1\.shard: minishard 1: 39 bytes from byte 676 on are expected, the file has",
    ):
        sharded.read(sharded.info.scales[0], Box((0, 0, 0), (8, 8, 8)))


def test_an_entry_larger_than_any_chunk_is_refused(sharded: VolumeReader, tmp_path: Path) -> None:
    sharding = sharded.info.scales[0].sharding
    assert sharding is not None
    (tmp_path / "s/0.shard").write_bytes(our_shards({0: bytes(1 << 24)}, sharding)["0.shard"])
    with pytest.raises(
        DatasetError, match=r"s/0-4_0-4_0-2: 0\.shard: gzip data of \d+ bytes unpacks to more than the 1048832 bytes"
    ):
        sharded.read(sharded.info.scales[0], Box((0, 0, 0), (8, 8, 8)))


class Counting:
    """A storage that counts what it is asked for."""

    def __init__(self, storage: FlatStorage) -> None:
        self.storage, self.asked = storage, list[tuple[str, int]]()

    def get(self, name: str) -> bytes | None:
        self.asked.append((name, -1))
        return self.storage.get(name)

    def get_range(self, name: str, start: int, length: int) -> bytes | None:
        self.asked.append((name, start))
        return self.storage.get_range(name, start, length)

    def exists(self, name: str) -> bool:
        return self.storage.exists(name)

    def locate(self, name: str) -> str:
        return self.storage.locate(name)


@pytest.mark.parametrize("at_once", [1, 4])
def test_each_minishard_index_is_read_once(sharded: VolumeReader, at_once: int) -> None:
    counting = Counting(sharded.storage)  # type: ignore[arg-type]
    reader = VolumeReader(counting, sharded.info, at_once)
    whole = Box((0, 0, 0), (8, 8, 8))
    np.testing.assert_array_equal(reader.read(sharded.info.scales[0], whole), sharded.read(sharded.info.scales[0], whole))
    # 16 chunks in 2 shards of 2 minishards: 4 entries, 4 indices, 16 chunks; nothing twice.
    assert len(counting.asked) == len(set(counting.asked)) == 24
    reader.read(sharded.info.scales[0], whole)
    assert len(counting.asked) == 40


def test_only_chunks_that_meet_the_box_are_asked_for(reader: VolumeReader) -> None:
    counting = Counting(reader.storage)  # type: ignore[arg-type]
    VolumeReader(counting, INFO).read(SCALE, Box((-5, 3, 0), (4, 4, 9)))
    assert [name for name, _ in counting.asked] == [f"s/{x}_3-11_{z}" for z in ("0-8", "8-9") for x in ("-5-3", "3-11")]


def test_a_reader_travels_to_workers_without_what_it_has_read(sharded: VolumeReader) -> None:
    whole = Box((0, 0, 0), (8, 8, 8))
    expected = sharded.read(sharded.info.scales[0], whole)
    other = pickle.loads(pickle.dumps(sharded))
    assert other == sharded
    assert not other._indices._kept
    np.testing.assert_array_equal(other.read(sharded.info.scales[0], whole), expected)


def test_the_error_of_one_of_many_chunks_at_once_is_told(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s/3-11_3-11_0-8").write_bytes(b"too short")
    with pytest.raises(DatasetError, match="s/3-11_3-11_0-8: raw chunk has 9 bytes"):
        VolumeReader(FlatStorage(tmp_path), INFO, 8).read(SCALE, SCALE.grid().box)
