"""compressed_segmentation: blocks of labels, each a small table and an index a voxel (compressed_segmentation/README.md)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from formats.chunks.chunk_format import ChunkFormat
from formats.errors import EncodeError
from formats.grid import Triple


def encode(voxels: NDArray[Any], chunk_format: ChunkFormat) -> bytes:
    """Return labels [x, y, z, channel], uint32 or uint64, as compressed_segmentation.

    Raises EncodeError when a channel needs tables beyond the first 64 MiB, where the format's 24-bit offsets end.
    """
    channels = [_encode_channel(voxels[..., c], chunk_format.block_size) for c in range(chunk_format.num_channels)]
    sizes = [len(channels), *(len(channel) // 4 for channel in channels[:-1])]
    return b"".join([np.cumsum(sizes).astype("<u4").tobytes(), *channels])


def decode(data: bytes, shape: Triple, chunk_format: ChunkFormat) -> NDArray[Any]:
    """Return labels [x, y, z, channel]."""
    from compressed_segmentation import decompress

    x, y, z = shape
    labels: NDArray[Any] = decompress(
        data, (x, y, z, chunk_format.num_channels), chunk_format.dtype, chunk_format.block_size, "F"
    )
    return labels


def _encode_channel(labels: NDArray[Any], block_size: Triple) -> bytes:
    """Return one channel without the header that tells where it begins."""
    from compressed_segmentation import compress

    # The library walks Fortran order without looking at strides, and wants memory that it might write to. It is given
    # one channel at a time because it reads the stride between channels from beyond its own array.
    labels = np.require(labels, requirements=["F", "W"])
    try:
        data: bytes = compress(labels, block_size, "F")
    except OverflowError as error:
        raise EncodeError(
            f"compressed_segmentation cannot hold a chunk of {labels.shape} with this many different labels: "
            "its tables end beyond 64 MiB; use smaller chunks"
        ) from error
    return data[4:]
