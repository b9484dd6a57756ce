"""Which reader opens a path."""

from collections.abc import Callable
from pathlib import Path

from converters.errors import SourceError
from converters.sources.source import Source, SourceOptions

Opener = Callable[[Path, SourceOptions], Source]


def open_source(path: Path, options: SourceOptions) -> Source:
    """Return the source at path.

    Raises SourceError where there is nothing that can be read, OptionError where an option is missing or does not fit.
    """
    try:
        if path.is_dir():
            raise SourceError(f"{path}: a directory; give the path of a file ({_readable()})")
        if path.stat().st_size == 0:
            raise SourceError(f"{path}: the file is empty (0 bytes)")
        return _opener(path)(path, options)
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file") from None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror or error})") from error


def _opener(path: Path) -> Opener:
    name = path.name.lower()
    for endings, opener in _OPENERS:
        if name.endswith(endings):
            return opener
    raise SourceError(f"{path}: not a file that is read here; what is read: {_readable()}")


def _readable() -> str:
    return ", ".join(ending for endings, _ in _OPENERS for ending in endings)


def _open_nifti(path: Path, options: SourceOptions) -> Source:
    from converters.sources.nifti import open_nifti

    return open_nifti(path, options)


def _open_pair(path: Path, options: SourceOptions) -> Source:
    from converters.sources.nifti import open_pair

    return open_pair(path, options)


def _open_mgh(path: Path, options: SourceOptions) -> Source:
    from converters.sources.mgh import open_mgh

    return open_mgh(path, options)


def _open_npy(path: Path, options: SourceOptions) -> Source:
    from converters.sources.npy import open_npy

    return open_npy(path, options)


_OPENERS: tuple[tuple[tuple[str, ...], Opener], ...] = (
    ((".nii", ".nii.gz"), _open_nifti),
    ((".hdr", ".img", ".hdr.gz", ".img.gz"), _open_pair),
    ((".mgh", ".mgz", ".mgh.gz"), _open_mgh),
    ((".npy",), _open_npy),
)
