"""Images of two files, a header and its voxels: .hdr and .img, .HEAD and .BRIK."""

from pathlib import Path

from converters.errors import SourceError

_VOXELS = {".hdr": ".img", ".head": ".brik"}
_HEADERS = {voxels: header for header, voxels in _VOXELS.items()}


def pair(path: Path) -> tuple[Path, Path]:
    """Return the header's file and the voxels' file of which path is one; either may be gzip (.gz).

    Raises SourceError where the other is not there.
    """
    plain = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    suffix = plain.suffix
    others = _VOXELS | _HEADERS
    wanted = others[suffix.lower()]
    other = _beside(plain, wanted.upper() if suffix.isupper() else wanted)
    return (path, other) if suffix.lower() in _VOXELS else (other, path)


def _beside(plain: Path, suffix: str) -> Path:
    expected = plain.with_suffix(suffix)
    for candidate in (expected, expected.with_name(f"{expected.name}.gz")):
        if candidate.is_file():
            return candidate
    raise SourceError(f"{plain}: one file of a pair, and {expected.name} is not beside it: copy it there")
