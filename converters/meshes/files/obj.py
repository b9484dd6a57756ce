"""Wavefront OBJ files: `v` and `f` lines, the only ones that make a surface (Object Files, Advanced Visualizer, appendix B1).

trimesh counts the negative corner numbers of a file from its last point instead of from the line's, takes 0 for the last
point, and passes over lines with tabs: wrong triangles without a word.
"""

import re
from pathlib import Path

import numpy as np

from converters.errors import DamagedError
from converters.meshes.files.surface import Surface, fans

_LONGEST_NUMBER = 64
"""Letters of a number."""


class _BrokenError(Exception):
    """What is wrong in a line."""


def read_obj(path: Path) -> Surface:
    """Return all objects of an OBJ file as one surface, polygons cut into triangles. Raises DamagedError, naming the line."""
    points: list[list[bytes]] = []
    corners: list[int] = []
    sizes: list[int] = []
    text = re.sub(rb"\\\r?\n", b" ", path.read_bytes())
    for number, line in enumerate(text.split(b"\n"), 1):
        words = line.partition(b"#")[0].split()
        if not words or words[0] not in (b"v", b"f"):
            continue
        try:
            if words[0] == b"v":
                points.append(_place(words))
            else:
                corners += _corners(words, len(points))
                sizes.append(len(words) - 1)
        except _BrokenError as error:
            raise DamagedError(f"{path}: line {number}: {error}; repair the file, or export it again") from None
    return Surface(_numbers(path, points), fans(np.array(corners, np.int64), np.array(sizes, np.int64)))


def _place(words: list[bytes]) -> list[bytes]:
    """Return x, y, z of a point; a weight or a colour may follow."""
    if len(words) < 4 or max(map(len, words[1:4])) > _LONGEST_NUMBER:
        raise _BrokenError(f"a point of {len(words) - 1} numbers, expected x, y and z")
    return words[1:4]


def _corners(words: list[bytes], points: int) -> list[int]:
    """Return which points a face joins, counted from 0; in the file from 1, or from -1 for the last one before it."""
    if len(words) < 4:
        raise _BrokenError(f"a face of {len(words) - 1} corners, expected at least 3")
    try:
        told = [int(word.partition(b"/")[0]) for word in words[1:]]
    except ValueError:
        raise _BrokenError(f"the face {b' '.join(words[1:])[:60].decode('latin-1')!r} is not understood") from None
    if any(n == 0 or n < -points for n in told):
        raise _BrokenError(f"a face joins points {', '.join(map(str, told[:8]))}, expected 1 or more, or -1 to -{points}")
    # What is beyond the last point of the file is told once the file is read.
    return [min(n - 1 if n > 0 else points + n, 1 << 62) for n in told]


def _numbers(path: Path, points: list[list[bytes]]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    try:
        return np.array(points, dtype="S").astype(np.float64) if points else np.zeros((0, 3))
    except ValueError as error:
        raise DamagedError(f"{path}: a point has what is no number ({error}); repair the file, or export it again") from None
