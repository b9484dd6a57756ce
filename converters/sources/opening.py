"""Which reader opens a path, a pattern of file names or a URL."""

import glob
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import cast

from converters.errors import SourceError
from converters.sources.source import Source, SourceOptions

Opener = Callable[[Path, SourceOptions], Source]

_READERS: tuple[tuple[tuple[str, ...], str], ...] = (
    ((".nii", ".nii.gz"), "brain.nifti:open_nifti"),
    ((".hdr", ".img", ".hdr.gz", ".img.gz"), "brain.nifti:open_pair"),
    ((".mgh", ".mgz", ".mgh.gz"), "brain.mgh:open_mgh"),
    ((".head", ".brik", ".brik.gz"), "brain.afni:open_afni"),
    ((".npy",), "npy.npy:open_npy"),
    ((".npz",), "npy.npz:open_npz"),
    ((".tif", ".tiff", ".btf", ".tf8", ".lsm"), "tiff.tiff:open_tiff"),
    ((".png", ".jpg", ".jpeg"), "slices.slices:open_slice"),
    ((".h5", ".hdf5", ".hdf", ".he5", ".cmap"), "hdf5.hdf5:open_hdf5"),
    ((".nrrd", ".nhdr"), "nrrd.nrrd:open_nrrd"),
    ((".mrc", ".map", ".rec", ".st", ".ali", ".ccp4"), "mrc:open_mrc"),
    ((".mrc.gz", ".map.gz", ".rec.gz"), "mrc:open_mrc"),
    ((".json",), "pieces.pieces:open_pieces"),
)
"""Endings of file names -> the module of converters.sources and its function that open them."""

_FOLDERS = (
    (("info",), "precomputed:open_precomputed"),
    (("zarr.json", ".zarray", ".zgroup", ".zattrs"), "zarr.zarr:open_zarr"),
    (("attributes.json",), "zarr.n5:open_n5"),
)
"""Files that tell what kind of dataset a folder is -> its reader."""

_STORES = ((".zarr", "zarr.zarr:open_zarr"), (".n5", "zarr.n5:open_n5"))
"""Endings of a store's folder -> the reader of those groups in it that have no files of their own."""

FILE_ENDINGS = tuple(ending for endings, _ in _READERS for ending in endings)
"""In small letters, of the names of files that are read."""
FOLDER_FILES = tuple(name for names, _ in _FOLDERS for name in names)
"""Files one of which a folder that is read as one dataset holds."""
STORE_ENDINGS = tuple(ending for ending, _ in _STORES)
"""In small letters, of the names of folders that are read as one dataset."""


def open_source(place: str | Path, options: SourceOptions) -> Source:
    """Return the source at a path, of the files that a pattern such as `slices/*.tif` names, or at a URL.

    Raises SourceError where there is nothing that can be read, OptionError where an option is missing or does not fit.
    """
    text = os.fspath(place)
    if is_url(text):
        return _open_url(text, options)
    try:
        return _open(Path(text), options)
    except FileNotFoundError as error:
        raise SourceError(f"{error.filename or text}: no such file") from error
    except OSError as error:
        raise SourceError(f"{text}: cannot be read ({error.strerror or error})") from error


def is_url(place: str) -> bool:
    """Tell whether a place is a URL and no path."""
    return "://" in place


def _open_url(url: str, options: SourceOptions) -> Source:
    from converters.sources.precomputed import open_remote

    return open_remote(url, options)


def absolute(place: str | Path) -> str:
    """Return a place so that it means the same from any folder: a URL as it is, a path or pattern from the root."""
    text = os.fspath(place)
    return text if is_url(text) else os.path.abspath(text)


def _open(path: Path, options: SourceOptions) -> Source:
    if path.is_dir():
        return _open_folder(path, options)
    if not path.exists() and "{" in str(path):
        return _reader("pieces.pieces:open_pattern")(path, options)
    if not path.exists() and glob.has_magic(str(path)):
        return _reader("slices.slices:open_pattern")(path, options)
    if path.stat().st_size == 0:
        raise SourceError(f"{path}: the file is empty (0 bytes); copy it again")
    return _opener(path)(path, options)


def _open_folder(path: Path, options: SourceOptions) -> Source:
    for names, reader in _FOLDERS:
        if any((path / name).is_file() for name in names):
            return _reader(reader)(path, options)
    for folder in (path.absolute(), *path.absolute().parents):
        for ending, reader in _STORES:
            if folder.name.lower().endswith(ending):
                return _reader(reader)(path, options)
    return _reader("slices.slices:open_folder")(path, options)


def _opener(path: Path) -> Opener:
    name = path.name.lower()
    for endings, reader in _READERS:
        if name.endswith(endings):
            return _reader(reader)
    raise SourceError(f"{path}: not a kind of file that is read; these are: {_readable()}")


def _readable() -> str:
    return ", ".join(FILE_ENDINGS)


def _reader(name: str) -> Opener:
    # Imported when it is needed: nibabel alone takes longer than `glassine --help` may.
    module, _, function = name.partition(":")
    return cast(Opener, getattr(import_module(f"converters.sources.{module}"), function))
