"""What we write tensorstore and cloud-volume read, and we read what they write.

cloud-volume is asked for one channel of jpeg only: it scrambles several. Its png needs a package of its own; Pillow stands in.
"""

from typing import Any, Protocol

import numpy as np
import pytest
from numpy.typing import NDArray

from formats.chunks import ChunkFormat, decode_chunk, encode_chunk
from formats.grid import Triple


class Peer(Protocol):
    """Another implementation of the format (conftest.py); voxels are [x, y, z, channel]."""

    def encode(self, voxels: NDArray[Any], chunk_format: ChunkFormat) -> bytes: ...
    def decode(self, data: bytes, shape: Triple, chunk_format: ChunkFormat) -> NDArray[Any]: ...


SHAPE = (17, 11, 5)
ALL_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "float32")


def named(chunk_format: ChunkFormat) -> str:
    return "-".join(str(getattr(chunk_format, name)) for name in ("encoding", "data_type", "num_channels", "block_size"))


def sample(shape: Triple, chunk_format: ChunkFormat, seed: int = 0) -> NDArray[Any]:
    """Return voxels that differ along each axis and use the whole of the type; labels come in clumps."""
    rng = np.random.default_rng(seed)
    full = (*shape, chunk_format.num_channels)
    if chunk_format.encoding == "jpeg":
        x, y, z, c = np.indices(full)
        return (2 * x + 3 * y + 20 * z + 40 * c).astype(np.uint8)
    if chunk_format.encoding in ("compressed_segmentation", "compresso"):
        labels = rng.integers(0, 1 << 64, 40, np.uint64).astype(chunk_format.data_type)
        clumps = labels[rng.integers(0, 40, [-(-n // 3) for n in full[:3]] + [full[3]])]
        return clumps.repeat(3, 0).repeat(3, 1).repeat(3, 2)[: full[0], : full[1], : full[2]]
    if chunk_format.data_type == "float32":
        return rng.normal(0, 1e6, full).astype(np.float32)
    return rng.integers(0, 1 << 64, full, np.uint64).astype(chunk_format.data_type)


def both_ways(peer: Peer, shape: Triple, chunk_format: ChunkFormat) -> None:
    voxels = sample(shape, chunk_format)
    ours, theirs = encode_chunk(voxels, chunk_format), peer.encode(voxels, chunk_format)
    if chunk_format.encoding == "jpeg":
        np.testing.assert_array_equal(peer.decode(ours, shape, chunk_format), decode_chunk(ours, shape, chunk_format))
        np.testing.assert_array_equal(peer.decode(theirs, shape, chunk_format), decode_chunk(theirs, shape, chunk_format))
        assert np.abs(decode_chunk(theirs, shape, chunk_format).astype(int) - voxels).mean() < 8
        return
    np.testing.assert_array_equal(peer.decode(ours, shape, chunk_format), voxels)
    np.testing.assert_array_equal(decode_chunk(theirs, shape, chunk_format), voxels)


TENSORSTORE = [
    *(ChunkFormat("raw", data_type, channels) for data_type in ALL_TYPES for channels in (1, 3)),
    *(ChunkFormat("jpeg", "uint8", channels, jpeg_quality=quality) for channels in (1, 3) for quality in (60, 95)),
    *(ChunkFormat("png", "uint8", channels) for channels in (1, 2, 3, 4)),
    ChunkFormat("png", "uint16"),
    *(
        ChunkFormat("compressed_segmentation", data_type, channels, block_size)
        for data_type in ("uint32", "uint64")
        for channels in (1, 2, 3)
        for block_size in ((8, 8, 8), (4, 8, 1))
    ),
]


@pytest.mark.parametrize("chunk_format", TENSORSTORE, ids=named)
def test_tensorstore_and_we_read_each_other(tensorstore: Peer, chunk_format: ChunkFormat) -> None:
    both_ways(tensorstore, SHAPE, chunk_format)


@pytest.mark.parametrize("data_type", ["uint32", "uint64"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (8, 8, 8), (7, 9, 16), (64, 65, 1), (3, 1, 70)])
def test_partial_blocks_with_tensorstore(tensorstore: Peer, shape: Triple, data_type: str) -> None:
    both_ways(tensorstore, shape, ChunkFormat("compressed_segmentation", data_type, 2))


CLOUD_VOLUME = [
    *(ChunkFormat("raw", data_type, channels) for data_type in ALL_TYPES for channels in (1, 2)),
    ChunkFormat("jpeg", "uint8"),
    ChunkFormat("jxl", "uint8"),
    *(ChunkFormat("compressed_segmentation", data_type) for data_type in ("uint32", "uint64")),
    *(ChunkFormat("compresso", data_type) for data_type in ("uint8", "uint16", "uint32", "uint64")),
]


@pytest.mark.parametrize("chunk_format", CLOUD_VOLUME, ids=named)
def test_cloud_volume_and_we_read_each_other(cloud_volume: Peer, chunk_format: ChunkFormat) -> None:
    both_ways(cloud_volume, SHAPE, chunk_format)
