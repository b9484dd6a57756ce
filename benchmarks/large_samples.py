"""Inputs of many GB for the benchmark of memory, in the files that are hard to read in bounded memory.

Their voxels are a block of EM-like texture laid out again and again, moved along x and y each time, so that no stretch that a
compressor looks back on holds it twice, and any voxel can be told without the file. They are written some planes at a time.
"""

import math
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import tensorstore
import tifffile
from isal import igzip, isal_zlib
from numpy.typing import NDArray

from benchmarks.samples import RESOLUTION_NM, Triple, grow_seeds, nearest_labels, picture

Voxels = NDArray[Any]
Report = Callable[[str], None]

_TEXTURE: Triple = (1024, 256, 16)
"""Voxels x, y, z; all extents are multiples of those that nearest_labels is asked for at a time."""
_PART: Triple = (16, 16, 8)
_RECIPE = 1
"""Counted up when voxels or files change, so that what an older recipe made is not taken for this one's."""
_NIFTI_HEADER_BYTES = 352
_SQUARE = (2048, 2048)
_LARGE_SQUARE = (8192, 8192)
_SLAB = 32
_CUBE = 128


@dataclass(frozen=True)
class Volume:
    """Voxels that are known without a file. shape: x, y, z. texture: uint8 or uint16 [z, y, x]."""

    shape: Triple
    texture: Voxels

    @property
    def dtype(self) -> np.dtype[Any]:
        """The data type of the voxels."""
        return self.texture.dtype

    def at(self, x: NDArray[np.intp], y: NDArray[np.intp], z: NDArray[np.intp]) -> Voxels:
        """Return the voxels at positions that broadcast against each other."""
        depth, height, width = self.texture.shape
        row, column = _moved(x // width, y // height, z // depth)
        voxels: Voxels = self.texture[z % depth, (y + row) % height, (x + column) % width]
        return voxels

    def plane(self, z: int) -> Voxels:
        """Return the voxels [y, x] of one plane."""
        depth, height, width = self.texture.shape
        wide = np.tile(self.texture[z % depth], (2, 2))
        plane = np.empty(self.shape[1::-1], self.dtype)
        for y in range(0, self.shape[1], height):
            for x in range(0, self.shape[0], width):
                row, column = (n % m for n, m in zip(_moved(x // width, y // height, z // depth), (height, width), strict=True))
                part = plane[y : y + height, x : x + width]
                part[:] = wide[row : row + part.shape[0], column : column + part.shape[1]]
        return plane

    def planes(self, step: int) -> Iterator[tuple[int, Voxels]]:
        """Yield (z of its first plane, voxels [z, y, x]) of each slab of step planes; the last may have fewer."""
        for begin in range(0, self.shape[2], step):
            yield begin, np.stack([self.plane(z) for z in range(begin, min(begin + step, self.shape[2]))])


def _moved(i: Any, j: Any, k: Any) -> tuple[Any, Any]:
    """Return how far the texture is moved along y and x at its i-th, j-th and k-th repetition along x, y and z."""
    return 31 * i + 91 * k, 613 * j + 389 * k


@dataclass(frozen=True)
class Kind:
    """One kind of input. title: for the table. plane: voxels x, y. file: its name's end. write: makes it of a volume."""

    title: str
    plane: tuple[int, int]
    data_type: str
    file: str
    write: Callable[[Volume, Path], None]

    def shape(self, gigabytes: float) -> Triple:
        """Return the voxels x, y, z of so many GB (10**9 bytes) or a plane more."""
        x, y = self.plane
        return x, y, math.ceil(gigabytes * 1e9 / (x * y * np.dtype(self.data_type).itemsize))


@dataclass(frozen=True)
class Sample:
    """An input that is there: its file or folder, and its voxels."""

    path: Path
    volume: Volume


def make_sample(directory: Path, name: str, gigabytes: float, report: Report) -> Sample:
    """Make the input of a kind in directory, unless it is there."""
    kind = KINDS[name]
    volume = Volume(kind.shape(gigabytes), make_texture(directory, kind.data_type, report))
    path = sample_path(directory, name, gigabytes)
    if not path.exists():
        report(f"making {path.name}")
        begun = path.with_name(f"begun-{path.name}")
        remove(begun)
        kind.write(volume, begun)
        begun.rename(path)
    return Sample(path, volume)


def sample_path(directory: Path, name: str, gigabytes: float) -> Path:
    """Return where the input of a kind and size lies."""
    kind = KINDS[name]
    return directory / f"{name}-{'x'.join(map(str, kind.shape(gigabytes)))}-r{_RECIPE}{kind.file}"


def remove(path: Path) -> None:
    """Remove a file or folder where there is one."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def make_texture(directory: Path, data_type: str, report: Report) -> Voxels:
    """Return the texture [z, y, x], uint8 or uint16, made once and kept in directory."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"texture-r{_RECIPE}.npy"
    if not path.exists():
        report(f"making {path.name}")
        np.save(path, _texture())
    grey: Voxels = np.load(path)
    return grey if data_type == "uint8" else _deepened(grey)


def _texture() -> Voxels:
    seeds = grow_seeds(_TEXTURE)
    labels = np.empty(_TEXTURE, np.uint32)
    for corner in np.ndindex(*(n // step for n, step in zip(_TEXTURE, _PART, strict=True))):
        x, y, z = (c * step for c, step in zip(corner, _PART, strict=True))
        box = np.s_[x : x + _PART[0], y : y + _PART[1], z : z + _PART[2]]
        labels[box] = nearest_labels(seeds, (x, y, z), _PART)
    return np.ascontiguousarray(picture(labels, 0).T)


def _deepened(grey: Voxels) -> Voxels:
    """Return 12 bits of grey, the lower four of them noise."""
    noise = np.random.default_rng(_RECIPE).integers(0, 16, grey.shape, np.uint16)
    deep: Voxels = grey.astype(np.uint16) * np.uint16(16) + noise
    return deep


def _write_nifti(volume: Volume, path: Path) -> None:
    header: Any = nibabel.Nifti1Header()  # type: ignore[no-untyped-call]
    header.set_data_shape(volume.shape)
    header.set_data_dtype(volume.dtype)
    header.set_xyzt_units("micron")
    header.set_sform(np.diag([*(n / 1000 for n in RESOLUTION_NM), 1.0]), 1)
    header["vox_offset"] = _NIFTI_HEADER_BYTES
    with igzip.open(path, "wb", 1) as file:  # type: ignore[no-untyped-call]
        file.write(header.binaryblock.ljust(_NIFTI_HEADER_BYTES, b"\0"))
        for _, planes in volume.planes(1):
            file.write(planes.tobytes())


def _write_contiguous_hdf5(volume: Volume, path: Path) -> None:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("volume", volume.shape[::-1], volume.dtype)
        for z, planes in volume.planes(8):
            dataset[z : z + len(planes)] = planes


def _write_hdf5_of_slices(volume: Volume, path: Path) -> None:
    _write_packed_hdf5(volume, path, 1)


def _write_hdf5_of_slabs(volume: Volume, path: Path) -> None:
    _write_packed_hdf5(volume, path, _SLAB)


def _write_packed_hdf5(volume: Volume, path: Path, depth: int) -> None:
    """Write chunks of so many whole planes, packed with gzip by ISA-L, which takes a tenth of the HDF5 library's time."""
    x, y, z = volume.shape
    depth = min(depth, z)
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("volume", (z, y, x), volume.dtype, chunks=(depth, y, x), compression="gzip")
        for begin, planes in volume.planes(depth):
            # The last chunk reaches beyond the volume's end.
            whole = np.pad(planes, [(0, depth - len(planes)), (0, 0), (0, 0)])
            dataset.id.write_direct_chunk((begin, 0, 0), isal_zlib.compress(whole.tobytes(), 1))


def _write_tiff(volume: Volume, folder: Path) -> None:
    _write_slices(volume, folder, None)


def _write_packed_tiff(volume: Volume, folder: Path) -> None:
    _write_slices(volume, folder, "zlib")


def _write_slices(volume: Volume, folder: Path, compression: str | None) -> None:
    folder.mkdir()
    level = {"level": 1} if compression else None

    def write(z: int) -> None:
        rows, path = volume.shape[1], folder / f"slice_{z:05}.tif"
        tifffile.imwrite(path, volume.plane(z), rowsperstrip=rows, compression=compression, compressionargs=level)

    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(write, range(volume.shape[2])):
            pass


def _write_zarr_of_cubes(volume: Volume, folder: Path) -> None:
    _write_zarr(volume, folder, (_CUBE, _CUBE, _CUBE))


def _write_zarr_of_slices(volume: Volume, folder: Path) -> None:
    x, y, _ = volume.shape
    _write_zarr(volume, folder, (1, y, x))


def _write_zarr(volume: Volume, folder: Path, chunks: Triple) -> None:
    """Write Zarr v2 with the compressor that zarr-python takes when it is told none."""
    packed = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}
    metadata = {"shape": volume.shape[::-1], "chunks": chunks, "dtype": volume.dtype.str, "compressor": packed}
    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": f"{folder}/"}, "metadata": metadata, "create": True}
    store: Any = tensorstore.open(spec).result()
    for z, planes in volume.planes(chunks[0]):
        store[z : z + len(planes)].write(planes).result()


KINDS = {
    "nii.gz": Kind("NIfTI, one gzip stream", _SQUARE, "uint8", ".nii.gz", _write_nifti),
    "hdf5": Kind("HDF5 without chunks", _SQUARE, "uint8", ".h5", _write_contiguous_hdf5),
    "hdf5-slices": Kind("HDF5, gzip, a chunk a slice", _SQUARE, "uint8", ".h5", _write_hdf5_of_slices),
    "hdf5-slabs": Kind(f"HDF5, gzip, a chunk {_SLAB} slices", _SQUARE, "uint8", ".h5", _write_hdf5_of_slabs),
    "tiff": Kind("TIFF stack, a strip a slice", _LARGE_SQUARE, "uint8", "", _write_tiff),
    "tiff-zlib": Kind("TIFF stack, zlib, a strip a slice", _LARGE_SQUARE, "uint16", "", _write_packed_tiff),
    "zarr": Kind(f"Zarr of {_CUBE}^3", _SQUARE, "uint8", ".zarr", _write_zarr_of_cubes),
    "zarr-slices": Kind("Zarr, a chunk a slice", _SQUARE, "uint8", ".zarr", _write_zarr_of_slices),
}
