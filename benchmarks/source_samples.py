"""The image of benchmarks/samples.py in the forms that labs have: Zarr arrays and folders of TIFF slices."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Voxels = NDArray[np.uint8]

_BLOSC = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1}
"""What Zarr 2 takes when nothing else is asked for."""


@dataclass(frozen=True)
class Form:
    """How the voxels lie on the disk: title says it, write(path, voxels [x, y, z]) makes it, suffix ends its name."""

    title: str
    suffix: str
    write: Callable[[Path, Voxels], None]


def make_form(image: Path, name: str, report: Callable[[str], None]) -> Path:
    """Make the form of that name from an uncompressed .nii, beside it, unless it is there; return its path."""
    import nibabel

    form = FORMS[name]
    path = image.with_name(f"{name}-of-{image.stem}{form.suffix}")
    if not path.exists():
        report(f"making {path.name}")
        begun = path.with_name(f"begun-{path.name}")
        shutil.rmtree(begun, ignore_errors=True)
        opened: Any = nibabel.load(image)
        form.write(begun, np.asanyarray(opened.dataobj))
        begun.rename(path)
    return path


def bytes_of(path: Path) -> int:
    """Return the bytes of all files below path, and read each once, so that no side finds it on a cold disk."""
    total = 0
    for folder, _, names in os.walk(path):
        total += sum(len(Path(folder, name).read_bytes()) for name in names)
    return total


def _write_zarr(chunk: int, compressor: dict[str, Any], path: Path, voxels: Voxels) -> None:
    """Write Zarr version 2, axes z, y, x, with nested chunk names as microscopes' have."""
    import tensorstore as ts

    metadata = {"shape": voxels.T.shape, "chunks": [chunk] * 3, "dtype": "|u1", "compressor": compressor}
    spec = {
        "driver": "zarr",
        "kvstore": {"driver": "file", "path": str(path)},
        "metadata": {**metadata, "dimension_separator": "/"},
    }
    ts.open(spec, create=True).result().write(voxels.T).result()


def _write_slices(compression: str | None, path: Path, voxels: Voxels) -> None:
    import tifffile

    path.mkdir()
    for z in range(voxels.shape[2]):
        tifffile.imwrite(path / f"slice_{z:04}.tif", voxels[..., z].T, compression=compression)


FORMS = {
    "blosc": Form("Zarr 2, 64^3 chunks of blosc (lz4)", ".zarr", partial(_write_zarr, 64, _BLOSC)),
    "zstd": Form("Zarr 2, 128^3 chunks of zstd", ".zarr", partial(_write_zarr, 128, {"id": "zstd", "level": 3})),
    "slices": Form("uncompressed TIFF slices", "", partial(_write_slices, None)),
    "zlib-slices": Form("TIFF slices of zlib", "", partial(_write_slices, "zlib")),
}
