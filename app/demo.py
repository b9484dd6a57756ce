"""The demo: the MNI152 brain that comes with nilearn, as an image and as labels of its tissues, checked once it is served."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from converters.errors import ConverterError, OptionError
from formats.grid import Box, Triple, chunk_name
from formats.info import Scale, VolumeInfo, parse_volume_info

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BRAIN, TISSUES = "mni152_t1", "mni152_tissues"
"""The names of the two datasets."""

GREY_MATTER, WHITE_MATTER = 1, 2
"""The labels of the second one."""

_CERTAIN = 0.5
"""A voxel has a label where one of the two probabilities is above this."""
_LABEL_INTENT = 1002
"""NIFTI_INTENT_LABEL (nifti1.h): the voxels are labels."""


class CheckError(ConverterError):
    """A dataset that was just converted and is not answered as the viewer needs it."""


def write_sources(folder: Path) -> dict[str, Path]:
    """Write the brain and its tissues as NIfTI files into folder and return them by dataset name; those there are kept.

    Raises OptionError when nilearn is not installed.
    """
    paths = {name: folder / f"{name}.nii.gz" for name in (BRAIN, TISSUES)}
    if not all(path.is_file() for path in paths.values()):
        folder.mkdir(parents=True, exist_ok=True)
        _write_brain(paths)
    return paths


def tissue_labels(grey: "NDArray[np.float32]", white: "NDArray[np.float32]") -> "NDArray[np.uint8]":
    """Return GREY_MATTER or WHITE_MATTER where that is the more probable one and above a half, else 0; grey wins a draw."""
    import numpy as np

    labels = np.where(white > grey, WHITE_MATTER, GREY_MATTER).astype(np.uint8)
    labels[np.maximum(grey, white) <= _CERTAIN] = 0
    return labels


def check_served(base_url: str, names: Iterable[str]) -> int:
    """Fetch each dataset's info and some chunks of its every scale as the viewer does, and return how many chunks answered.

    Raises CheckError for the first answer that is not what it should be.
    """
    return sum(_check_dataset(f"{base_url.rstrip('/')}/data/{quote(name)}") for name in names)


def _write_brain(paths: dict[str, Path]) -> None:
    try:
        from nilearn import datasets
    except ImportError:
        raise OptionError("the demo's brain comes with nilearn, which is not installed: pip install 'glassine[demo]'") from None
    import numpy as np

    brain = datasets.load_mni152_template(resolution=1)
    grey = datasets.load_mni152_gm_template(resolution=1)
    white = datasets.load_mni152_wm_template(resolution=1)
    # nilearn divides bytes by their maximum, 255: this takes it back, without loss.
    bytes_ = np.rint(np.asarray(brain.dataobj) * np.float32(255)).astype(np.uint8)
    _write_nifti(bytes_, brain.affine, 0, paths[BRAIN])
    _write_nifti(tissue_labels(np.asarray(grey.dataobj), np.asarray(white.dataobj)), brain.affine, _LABEL_INTENT, paths[TISSUES])


def _write_nifti(voxels: "NDArray[np.uint8]", affine: Any, intent: int, path: Path) -> None:
    """Write a file that is there whole or not at all."""
    import nibabel

    image = nibabel.Nifti1Image(voxels, affine)  # type: ignore[no-untyped-call]
    image.header.set_xyzt_units("mm")  # type: ignore[no-untyped-call]
    image.header["intent_code"] = intent
    begun = path.with_name(f"begun-{os.getpid()}-{path.name}")
    nibabel.save(image, begun)
    os.replace(begun, path)


def _check_dataset(url: str) -> int:
    info = parse_volume_info(_fetched(f"{url}/info"))
    chunks = [(scale, box) for scale in info.scales for box in _some_chunks(scale)]
    for scale, box in chunks:
        _check_chunk(f"{url}/{scale.key}/{chunk_name(box)}", info, scale, box)
    return len(chunks)


def _some_chunks(scale: Scale) -> list[Box]:
    """Return a scale's first, middle and last chunk, which may be the same one."""
    grid = scale.grid()
    x, y, z = grid.shape
    cells: set[Triple] = {(0, 0, 0), (x // 2, y // 2, z // 2), (x - 1, y - 1, z - 1)}
    return [grid.chunk_box(cell) for cell in sorted(cells)]


def _check_chunk(url: str, info: VolumeInfo, scale: Scale, box: Box) -> None:
    """Fetch and decode one chunk. Raises CheckError."""
    from formats.chunks import decode_chunk
    from formats.errors import DecodeError

    data = _fetched(url)
    try:
        decode_chunk(data, box.shape, info.chunk_format(scale))
    except DecodeError as error:
        raise CheckError(f"{url}: answered, but not with the chunk: {error}") from error


def _fetched(url: str) -> bytes:
    try:
        with urlopen(Request(url, headers={"Accept-Encoding": "identity"}), timeout=30) as response:
            return bytes(response.read())
    except (URLError, OSError) as error:
        if isinstance(error, HTTPError):
            error.close()  # it holds the connection
        raise CheckError(f"{url}: not answered ({getattr(error, 'reason', None) or error})") from error
