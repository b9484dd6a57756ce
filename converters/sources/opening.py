"""Which reader opens a path, and by what its files are known again."""

from collections.abc import Callable
from pathlib import Path

from converters.errors import SourceError
from converters.sources.pairs import is_paired, pair
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
            raise SourceError(f"{path}: the file is empty (0 bytes); copy it again")
        return _opener(path)(path, options)
    except FileNotFoundError as error:
        raise SourceError(f"{error.filename or path}: no such file") from error
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror or error})") from error


def fingerprint(path: Path) -> dict[str, dict[str, int]]:
    """Return the size in bytes and the time of change in ns of each file of a source, by name; JSON-able.

    Raises SourceError where one is not there.
    """
    try:
        stats = {file.name: file.stat() for file in (pair(path) if is_paired(path) else (path,))}
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror or error})") from error
    return {name: {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns} for name, stat in stats.items()}


def _opener(path: Path) -> Opener:
    name = path.name.lower()
    for endings, opener in _OPENERS:
        if name.endswith(endings):
            return opener
    raise SourceError(f"{path}: not a kind of file that is read; these are: {_readable()}")


def _readable() -> str:
    return ", ".join(ending for endings, _ in _OPENERS for ending in endings)


# The readers are imported when they are needed: nibabel alone takes longer than `glassine --help` may.


def _open_nifti(path: Path, options: SourceOptions) -> Source:
    from converters.sources.nifti import open_nifti

    return open_nifti(path, options)


def _open_pair(path: Path, options: SourceOptions) -> Source:
    from converters.sources.nifti import open_pair

    return open_pair(path, options)


def _open_mgh(path: Path, options: SourceOptions) -> Source:
    from converters.sources.mgh import open_mgh

    return open_mgh(path, options)


def _open_afni(path: Path, options: SourceOptions) -> Source:
    from converters.sources.afni import open_afni

    return open_afni(path, options)


def _open_npy(path: Path, options: SourceOptions) -> Source:
    from converters.sources.npy import open_npy

    return open_npy(path, options)


_OPENERS: tuple[tuple[tuple[str, ...], Opener], ...] = (
    ((".nii", ".nii.gz"), _open_nifti),
    ((".hdr", ".img", ".hdr.gz", ".img.gz"), _open_pair),
    ((".mgh", ".mgz", ".mgh.gz"), _open_mgh),
    ((".head", ".brik", ".brik.gz"), _open_afni),
    ((".npy",), _open_npy),
)
