"""What a conversion encodes its chunks with."""

from typing import Any

import numpy as np
import pytest

from converters.volumes.encoders import encode_labels, encoder_for
from formats.chunks import ChunkFormat, encode_chunk
from formats.errors import EncodeError


@pytest.mark.usefixtures("nothing_is_kept")
@pytest.mark.parametrize(
    ("encoding", "voxels", "expected"),
    [
        ("compressed_segmentation", 1 << 28, encode_labels),
        ("compressed_segmentation", (1 << 28) - 1, encode_chunk),
        ("raw", 1 << 30, encode_chunk),
        ("compresso", 1 << 30, encode_chunk),
    ],
)
def test_kernels_are_compiled_where_they_have_enough_to_do(encoding: str, voxels: int, expected: Any) -> None:
    assert encoder_for(ChunkFormat(encoding, "uint32"), voxels) is expected


@pytest.mark.parametrize(
    ("encoding", "voxels", "expected"),
    [
        ("compressed_segmentation", 1 << 23, encode_labels),
        ("compressed_segmentation", (1 << 23) - 1, encode_chunk),
        ("raw", 1 << 30, encode_chunk),
    ],
)
def test_kernels_that_are_kept_are_loaded_for_less(encoding: str, voxels: int, expected: Any) -> None:
    encode_labels(np.zeros((8, 8, 8, 1), np.uint32), ChunkFormat("compressed_segmentation", "uint32"))
    assert encoder_for(ChunkFormat(encoding, "uint32"), voxels) is expected


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("data_type", ["uint32", "uint64"])
@pytest.mark.parametrize("shape", [(64, 64, 64), (33, 17, 1)])
def test_a_chunk_is_the_same_with_kernels(channels: int, data_type: str, shape: tuple[int, int, int]) -> None:
    labels = np.random.default_rng(0).integers(0, 40, (*(-(-n // 5) for n in shape), channels), data_type)
    for axis, n in enumerate(shape):
        labels = np.repeat(labels, 5, axis=axis).take(range(n), axis=axis)
    chunk_format = ChunkFormat("compressed_segmentation", data_type, channels, (8, 8, 4))
    assert encode_labels(labels, chunk_format) == encode_chunk(labels, chunk_format)


def test_too_many_labels_are_refused_in_the_same_words() -> None:
    labels = np.arange(512 * 13_088, dtype=np.uint64).reshape((8, 8, -1, 1), order="F")
    with pytest.raises(EncodeError, match=r"chunk of \(8, 8, 104704\) with this many different labels.*use smaller chunks"):
        encode_labels(labels, ChunkFormat("compressed_segmentation", "uint64"))
