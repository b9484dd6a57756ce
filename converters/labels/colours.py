"""The colours that the viewer gives segments when nothing else is said.

Follows Neuroglancer's src/segment_color.ts and src/gpu_hash/hash_function.ts: hue and saturation are the two lowest bytes of a
hash of the id, low half first, with the seed 0.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_FIRST, _SECOND, _ADDED = np.uint32(0xCC9E2D51), np.uint32(0x1B873593), np.uint32(0xE6546B64)


def viewer_colours(ids: NDArray[Any]) -> NDArray[np.uint8]:
    """Return red, green and blue of each segment, uint8 [..., 3]; black for 0, which is none. ids: unsigned integers."""
    wide = ids.astype(np.uint64)
    low, high = (wide & np.uint64(0xFFFFFFFF)).astype(np.uint32), (wide >> np.uint64(32)).astype(np.uint32)
    hashed = _combined(_combined(np.zeros_like(low), low), high)
    colours = _bright((hashed & np.uint32(255)) / 255, 0.5 + 0.5 * ((hashed >> np.uint32(8)) & np.uint32(255)) / 255)
    colours[ids == 0] = 0
    return colours


def _combined(state: NDArray[np.uint32], value: NDArray[np.uint32]) -> NDArray[np.uint32]:
    mixed = state ^ (_rotated(value * _FIRST, 15) * _SECOND)
    return _rotated(mixed, 13) * np.uint32(5) + _ADDED


def _rotated(value: NDArray[np.uint32], bits: int) -> NDArray[np.uint32]:
    rotated: NDArray[np.uint32] = (value << np.uint32(bits)) | (value >> np.uint32(32 - bits))
    return rotated


def _bright(hue: NDArray[np.float64], saturation: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the colours of full value; hue: 0 to 1, once around."""
    places = np.stack([hue * 6, hue * 6 + 4, hue * 6 + 2], axis=-1) % 6
    part = np.clip(np.abs(places - 3) - 1, 0, 1)
    colours: NDArray[np.uint8] = np.rint(255 * (1 - saturation[..., np.newaxis] * (1 - part))).astype(np.uint8)
    return colours
