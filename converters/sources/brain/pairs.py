"""Images of two files, a header and its voxels: .hdr and .img, .HEAD and .BRIK."""

from pathlib import Path

from converters.errors import SourceError

_VOXELS = {".hdr": ".img", ".head": ".brik"}
_HEADERS = {voxels: header for header, voxels in _VOXELS.items()}


def is_paired(path: Path) -> bool:
    """Return whether the name is that of one file of a pair."""
    return without_gz(path).suffix.lower() in _VOXELS | _HEADERS


def pair(path: Path) -> tuple[Path, Path]:
    """Return the header's file and the voxels' file of which path, a paired name, is one; either may be gzip (.gz).

    Raises SourceError where the other is not there.
    """
    plain = without_gz(path)
    is_header = plain.suffix.lower() in _VOXELS
    wanted = (_VOXELS if is_header else _HEADERS)[plain.suffix.lower()]
    other = _beside(path, plain.with_suffix(wanted.upper() if plain.suffix.isupper() else wanted))
    return (path, other) if is_header else (other, path)


def without_gz(path: Path) -> Path:
    """Return the name that the file has unpacked."""
    return path.with_suffix("") if path.suffix.lower() == ".gz" else path


def _beside(path: Path, expected: Path) -> Path:
    for candidate in (expected, expected.with_name(f"{expected.name}.gz")):
        if candidate.is_file():
            return candidate
    raise SourceError(f"{path}: one file of a pair, and {expected.name} is not beside it: copy it there")
