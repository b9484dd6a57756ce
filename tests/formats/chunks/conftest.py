"""Other implementations of the format, which write and read a single chunk as a whole volume of theirs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore as ts
from numpy.typing import NDArray

from formats.chunks import ChunkFormat
from formats.grid import Box, Triple, chunk_name


def chunk_key(shape: Triple) -> str:
    return "s/" + chunk_name(Box((0, 0, 0), shape))


class TensorStore:
    def encode(self, voxels: NDArray[Any], chunk_format: ChunkFormat) -> bytes:
        x, y, z, _ = voxels.shape
        store = self._store((x, y, z), chunk_format)
        store.write(voxels).result()
        data: bytes = store.kvstore.read(chunk_key((x, y, z))).result().value
        return data

    def decode(self, data: bytes, shape: Triple, chunk_format: ChunkFormat) -> NDArray[Any]:
        store = self._store(shape, chunk_format)
        store.kvstore.write(chunk_key(shape), data).result()
        return np.asarray(store.read().result())

    def _store(self, shape: Triple, chunk_format: ChunkFormat) -> Any:
        scale: dict[str, Any] = {"key": "s", "size": shape, "resolution": [1, 1, 1], "chunk_size": shape}
        scale["encoding"] = chunk_format.encoding
        if chunk_format.encoding == "jpeg":
            scale["jpeg_quality"] = chunk_format.jpeg_quality
        if chunk_format.encoding == "compressed_segmentation":
            scale["compressed_segmentation_block_size"] = chunk_format.block_size
        volume = {"type": "image", "data_type": chunk_format.data_type, "num_channels": chunk_format.num_channels}
        spec = {"driver": "neuroglancer_precomputed", "kvstore": "memory://", "create": True}
        spec |= {"multiscale_metadata": volume, "scale_metadata": scale}
        # Otherwise a chunk of zeros would not be written.
        return ts.open(spec | {"store_data_equal_to_fill_value": True}).result()


class CloudVolume:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.volumes = 0

    def encode(self, voxels: NDArray[Any], chunk_format: ChunkFormat) -> bytes:
        x, y, z, _ = voxels.shape
        path, volume = self._volume((x, y, z), chunk_format)
        volume[:, :, :] = voxels
        return (path / chunk_key((x, y, z))).read_bytes()

    def decode(self, data: bytes, shape: Triple, chunk_format: ChunkFormat) -> NDArray[Any]:
        path, volume = self._volume(shape, chunk_format)
        (path / "s").mkdir()
        (path / chunk_key(shape)).write_bytes(data)
        return np.asarray(volume[:, :, :])

    def _volume(self, shape: Triple, chunk_format: ChunkFormat) -> tuple[Path, Any]:
        import cloudvolume

        self.volumes += 1
        path = self.root / str(self.volumes)
        info = cloudvolume.CloudVolume.create_new_info(
            chunk_format.num_channels, "image", chunk_format.data_type, chunk_format.encoding, (1, 1, 1), (0, 0, 0), shape,
            chunk_size=shape, compressed_segmentation_block_size=chunk_format.block_size,
        )  # fmt: skip
        info["scales"][0] |= {"key": "s", "jxl_quality": 100}
        volume = cloudvolume.CloudVolume(f"file://{path}", info=info, compress=False, progress=False, fill_missing=False)
        volume.commit_info()
        return path, volume


@pytest.fixture
def tensorstore() -> TensorStore:
    return TensorStore()


@pytest.fixture
def cloud_volume(tmp_path: Path) -> CloudVolume:
    return CloudVolume(tmp_path)
