"""Volumes seen along z: columns of voxels that become pixels, and pictures of them with a scale bar."""

import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.geometry import Lengths
from formats.grid import Box, Triple

_MOST_PIXELS = 2048
"""Along the longer side; larger volumes have several columns of voxels in a pixel."""
_LEAST_PIXELS = 512
"""Smaller pictures are enlarged."""
_FOOT, _BAR, _FONT = 32, 4, 16
"""Pixels: height of the strip below the picture, of the scale bar in it, and of its letters."""
_BAR_PART = 0.3
"""Of the width, which the bar takes at most."""
_UNITS = (("mm", 1e6), ("um", 1e3), ("nm", 1.0))

Plane = NDArray[Any]
"""[x, y]"""


@dataclass(frozen=True)
class Pixels:
    """Which columns of voxels become which pixel.

    shape: voxels along x, y. resolution: nm a voxel along x, y. factors: voxels a pixel along x, y.
    """

    shape: tuple[int, int]
    resolution: tuple[float, float]
    factors: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Pixels along x, y."""
        return -(-self.shape[0] // self.factors[0]), -(-self.shape[1] // self.factors[1])

    def shrunk(self, plane: Plane, box: Box) -> Plane:
        """Return the largest value in each pixel that holds voxels of a box. plane: a value for each of its columns."""
        for axis, factor in enumerate(self.factors):
            if factor > 1:
                start, end = box.start[axis], box.end[axis]
                begins = np.arange(start // factor * factor, end, factor)
                plane = np.maximum.reduceat(plane, np.maximum(begins, start) - start, axis=axis)
        return plane

    def put(self, canvas: Plane, part: Plane, box: Box) -> None:
        """Put what shrunk gave for a box into a canvas of the whole size, where it is larger than what is there."""
        x, y = (slice(a // f, -(-b // f)) for a, b, f in zip(box.start, box.end, self.factors, strict=False))
        np.maximum(canvas[x, y], part, out=canvas[x, y])


def pixels_for(shape: Triple, resolution: Lengths) -> Pixels:
    """Return pixels that are about square and not too many."""
    edge = max(_longer(shape, resolution) / _MOST_PIXELS, min(resolution[:2]))
    x, y = (min(n, math.ceil(edge / r)) for n, r in zip(shape[:2], resolution[:2], strict=True))
    return Pixels(shape[:2], resolution[:2], (x, y))


def _longer(shape: Triple, resolution: Lengths) -> float:
    return max(shape[0] * resolution[0], shape[1] * resolution[1])


def encode_picture(colours: NDArray[np.uint8], pixels: Pixels) -> bytes:
    """Return a PNG with square pixels and a scale bar below it. colours: [x, y, 3] of the size of pixels."""
    from PIL import Image

    extent = [n * r for n, r in zip(pixels.shape, pixels.resolution, strict=True)]
    edge = min(f * r for f, r in zip(pixels.factors, pixels.resolution, strict=True))
    edge = min(edge, max(extent) / _LEAST_PIXELS)
    # Far from square, a volume must not make a picture that is far too large.
    edge = max(edge, max(extent) / (2 * _MOST_PIXELS))
    width, height = (max(1, round(length / edge)) for length in extent)
    picture = Image.new("RGB", (width, height + _FOOT))
    rows = np.ascontiguousarray(colours.transpose(1, 0, 2))
    picture.paste(Image.fromarray(rows).resize((width, height), Image.Resampling.NEAREST), (0, 0))
    _draw_bar(picture, edge)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _draw_bar(picture: Any, edge: float) -> None:
    """Draw a scale bar into the foot of a picture. edge: nm of a pixel."""
    from PIL import ImageDraw, ImageFont

    length = bar_length(picture.width * edge * _BAR_PART)
    unit, factor = next((u, f) for u, f in _UNITS if length >= f or f == 1)
    draw = ImageDraw.Draw(picture)
    middle, end = picture.height - _FOOT // 2, _FOOT // 4 + round(length / edge)
    draw.rectangle((_FOOT // 4, middle - _BAR // 2, end, middle + _BAR // 2 - 1), fill="white")
    font = ImageFont.load_default(_FONT)
    draw.text((end + _FOOT // 4, middle), f"{length / factor:g} {unit}", fill="white", font=font, anchor="lm")


def bar_length(most: float) -> float:
    """Return the longest of 1, 2, 5, 10, 20, 50 ... and of their tenths that is no longer than most."""
    tens = 10.0 ** math.floor(math.log10(most))
    return max(n * tens for n in (1, 2, 5) if n * tens <= most * (1 + 1e-9) or n == 1)
