"""A small picture of a volume: its middle plane, upright where the world is known."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.geometry import Affine
from converters.record import Contrast
from converters.storage.reader import VolumeReader
from formats.grid import Box
from formats.info import Scale

EDGE = 256
"""Pixels of the longer side."""

Orientation = tuple[tuple[int, int, int], tuple[bool, bool, bool]]


def thumbnail(reader: VolumeReader, contrast: tuple[Contrast, ...], transform: Affine | None) -> bytes:
    """Return a PNG of the middle plane across the world's third direction. contrast: one a channel, empty for labels."""
    axes, flipped = _orientation(transform)
    scale = _scale_for(reader.info.scales)
    plane = _upright(_middle_plane(reader, scale, axes[2]), axes, flipped)
    pixels = _grey(plane, contrast) if contrast else _colours(plane[..., 0])
    aspect = scale.resolution[axes[0]] / scale.resolution[axes[1]]
    return _png(pixels, aspect)


def _scale_for(scales: tuple[Scale, ...]) -> Scale:
    """Return the coarsest scale that is still as large as the picture, or the finest."""
    large = [scale for scale in scales if max(scale.size) >= EDGE]
    return large[-1] if large else scales[0]


def _orientation(transform: Affine | None) -> Orientation:
    """Return, for the picture's right, down and depth, the volume's axis and whether it is turned round."""
    if transform is None:
        return (0, 1, 2), (False, False, False)
    linear = np.array(transform)[:, :3]
    left: list[int] = [0, 1, 2]
    axes, flipped = [], []
    for row in linear:
        axis = max(left, key=lambda a: abs(row[a]))
        left.remove(axis)
        axes.append(axis)
        flipped.append(bool(row[axis] < 0))
    # As the link opens it: the patient's right on the left; the world's second direction points up, rows of a picture run down.
    return (axes[0], axes[1], axes[2]), (not flipped[0], not flipped[1], flipped[2])


def _middle_plane(reader: VolumeReader, scale: Scale, depth: int) -> NDArray[Any]:
    """Return [x, y, z, channel] with one voxel along depth."""
    box = scale.grid().box
    start, end = list(box.start), list(box.end)
    start[depth] += box.shape[depth] // 2
    end[depth] = start[depth] + 1
    return reader.read(scale, Box((start[0], start[1], start[2]), (end[0], end[1], end[2])))


def _upright(plane: NDArray[Any], axes: tuple[int, int, int], flipped: tuple[bool, bool, bool]) -> NDArray[Any]:
    """Return [row, column, channel]."""
    picture = plane.transpose(axes[1], axes[0], axes[2], 3)[:, :, 0]
    return picture[:: -1 if flipped[1] else 1, :: -1 if flipped[0] else 1]


def _grey(plane: NDArray[Any], contrast: tuple[Contrast, ...]) -> NDArray[np.uint8]:
    """Return [row, column, 3]: one channel as grey, the first three of more as red, green and blue."""
    shown = [0, 0, 0] if len(contrast) < 3 else [0, 1, 2]
    channels = []
    for c in shown:
        low, high = contrast[c].low, contrast[c].high
        grey = (plane[..., c].astype(np.float64) - low) / max(high - low, 1e-12)
        channels.append((np.clip(np.nan_to_num(grey), 0, 1) * 255).astype(np.uint8))
    return np.stack(channels, axis=-1)


def _colours(labels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return [row, column, 3]: a colour for each label from the bits of a multiplicative hash, black for 0."""
    hashed = labels.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    colours = np.stack([64 + (hashed >> np.uint64(shift)) % np.uint64(192) for shift in (40, 48, 56)], axis=-1)
    colours[labels == 0] = 0
    return colours.astype(np.uint8)


def _png(pixels: NDArray[np.uint8], aspect: float) -> bytes:
    """Return a PNG, its longer side EDGE pixels; aspect: a pixel's width over its height."""
    from PIL import Image

    height, width = pixels.shape[0], pixels.shape[1] * aspect
    shrink = EDGE / max(height, width)
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    file = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()
