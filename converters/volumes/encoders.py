"""How a conversion encodes its chunks: many chunks of labels by kernels, which take a while to load."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.native import is_worth_it
from converters.volumes.label_blocks import blocks_kernel, encoded
from formats.chunks import ChunkFormat, compressed_segmentation, encode_chunk

Encoder = Callable[[NDArray[Any], ChunkFormat], bytes]
"""Returns the bytes of a chunk of voxels [x, y, z, channel], as encode_chunk does."""


def encoder_for(chunk_format: ChunkFormat, voxels: int) -> Encoder:
    """Return what encodes so many voxels in one process soonest. What it gives is the same."""
    if chunk_format.encoding != "compressed_segmentation":
        return encode_chunk
    return encode_labels if is_worth_it(blocks_kernel(chunk_format.dtype), voxels) else encode_chunk


def encode_labels(voxels: NDArray[Any], chunk_format: ChunkFormat) -> bytes:
    """Return a chunk of compressed_segmentation, the bytes of encode_chunk in a quarter of the time.

    voxels: [x, y, z, channel], uint32 or uint64, at least one. Raises EncodeError as encode_chunk does.
    """
    channels = range(chunk_format.num_channels)
    return compressed_segmentation.joined([_channel(voxels[..., c], chunk_format) for c in channels])


def _channel(labels: NDArray[Any], chunk_format: ChunkFormat) -> bytes:
    words = encoded(np.asfortranarray(labels), chunk_format.block_size)
    if words is None:
        raise compressed_segmentation.too_many_labels(labels.shape)
    return words.astype("<u4", copy=False).tobytes()
