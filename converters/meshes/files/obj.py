"""Wavefront OBJ files: `v` and `f` lines, the only ones that make a surface (Object Files, Advanced Visualizer, appendix B1).

trimesh counts the negative corner numbers of a file from its last point instead of from the line's, takes 0 for the last
point, and passes over lines with tabs: wrong triangles without a word.
"""

import re
from array import array
from pathlib import Path

import numpy as np

from converters.errors import DamagedError
from converters.meshes.files.surface import Surface, fans

_LARGEST = 1 << 62
"""What a corner's number is cut to, so that it is an int64 still; no file has as many points."""


class _BrokenError(Exception):
    """What is wrong in a line."""


def read_obj(path: Path) -> Surface:
    """Return all objects of an OBJ file as one surface, polygons cut into triangles. Raises DamagedError, naming the line."""
    points, corners, sizes = array("d"), array("q"), array("q")
    text = re.sub(rb"\\\r?\n", b" ", path.read_bytes())
    for number, line in enumerate(text.split(b"\n"), 1):
        words = line.partition(b"#")[0].split()
        try:
            if words and words[0] == b"v":
                points.extend(_place(words))
            elif words and words[0] == b"f":
                corners.extend(_corners(words, len(points) // 3))
                sizes.append(len(words) - 1)
        except _BrokenError as error:
            raise DamagedError(f"{path}: line {number}: {error}; repair the file, or export it again") from None
    triangles = fans(np.array(corners, np.int64), np.array(sizes, np.int64))
    return Surface(np.array(points, np.float64).reshape(-1, 3), triangles)


def _place(words: list[bytes]) -> tuple[float, float, float]:
    """Return x, y, z of a point; a weight or a colour may follow."""
    if len(words) < 4:
        raise _BrokenError(f"a point of {len(words) - 1} numbers, expected x, y and z")
    try:
        return float(words[1]), float(words[2]), float(words[3])
    except ValueError:
        raise _BrokenError(f"the point {_shown(words)} is not understood") from None


def _corners(words: list[bytes], points: int) -> list[int]:
    """Return which points a face joins, counted from 0; in the file from 1, or from -1 for the last one before it."""
    if len(words) < 4:
        raise _BrokenError(f"a face of {len(words) - 1} corners, expected at least 3")
    try:
        told = [int(word.partition(b"/")[0]) for word in words[1:]]
    except ValueError:
        raise _BrokenError(f"the face {_shown(words)} is not understood") from None
    if min(told) < -points or 0 in told:
        raise _BrokenError(f"a face joins points {', '.join(map(str, told[:8]))}, expected 1 or more, or -1 to -{points}")
    # What is beyond the last point of the file is told once the file is read.
    return [min(n - 1 if n > 0 else points + n, _LARGEST) for n in told]


def _shown(words: list[bytes]) -> str:
    return repr(b" ".join(words[1:])[:60].decode("latin-1"))
