"""compresso: the outlines of labels as small windows of bits, and one label a component.

Follows the compresso library, formats 0 and 1; nothing else describes it. A stream is a header, ids (the label of each
connected component that the outlines leave, in the order of their first voxels), values (the windows that occur), locations
(what lies in an outline with no component to its left or above it), windows (numbers of values, runs of the first one
shortened) and, in format 1, an index of slices.

The library trusts its input, so a stream is unpacked here; the library only finds the components.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from formats.chunks.chunk_format import ChunkFormat
from formats.errors import DecodeError
from formats.grid import Triple

_HEADER = np.dtype(
    [
        ("magic", "S4"),
        ("version", "u1"),
        ("data_width", "u1"),
        ("size", "<u2", 3),
        ("steps", "u1", 3),
        ("ids", "<u8"),
        ("values", "<u4"),
        ("locations", "<u8"),
        ("connectivity", "u1"),
    ]
)

# Locations: 0 to 5 copy the label of a neighbour, 6 is followed by a label, and from 7 on it is the label + 7.
_NEIGHBOURS = np.array([(-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1)])
_LABEL_FOLLOWS = 6
_FIRST_LABEL = 7


@dataclass(frozen=True, slots=True)
class _Stream:
    """The parts of a compresso stream; outline: bool [z, y, x]."""

    header: NDArray[Any]
    ids: NDArray[Any]
    values: NDArray[Any]
    locations: NDArray[Any]
    windows: NDArray[Any]
    outline: NDArray[np.bool]


def encode(voxels: NDArray[Any], chunk_format: ChunkFormat) -> bytes:
    """Return labels [x, y, z, 1], unsigned, as compresso, format 1."""
    import compresso

    # The library asks for memory that it might write to.
    labels = np.require(voxels[..., 0], requirements=["F", "W"])
    data: bytes = compresso.compress(labels)
    return data


def decode(data: bytes, shape: Triple, chunk_format: ChunkFormat) -> NDArray[Any]:
    """Return labels [x, y, z, 1]. Raises DecodeError for a stream of another shape or type, or that contradicts itself."""
    stream = _stream(data, shape, chunk_format)
    codes, labels = _tokens(stream.locations)
    six_connected = bool(stream.header["connectivity"] == 6)
    _check_codes(codes, np.argwhere(_corners(stream.outline, stream.outline, six_connected))[:, ::-1], shape)
    most = int(_corners(~stream.outline, stream.outline, six_connected).sum())
    numbers = _component_numbers(stream, codes, most)
    components = numbers[numbers <= most].max(initial=0)
    if components != stream.ids.size:
        raise DecodeError(f"compresso chunk has {stream.ids.size} ids, expected one for each of its {components} components")
    if numbers.min() == 0:
        raise DecodeError("compresso chunk has a location that copies a label before it is known")
    table = np.zeros(most + 1 + labels.size, chunk_format.dtype)
    table[1 : components + 1] = stream.ids
    table[most + 1 :] = labels
    return table[numbers.T][np.newaxis].T


def _stream(data: bytes, shape: Triple, chunk_format: ChunkFormat) -> _Stream:
    """Return the parts of a stream, each as long as the header tells and no longer than data."""
    if len(data) < _HEADER.itemsize:
        raise DecodeError(f"compresso chunk has {len(data)} bytes, expected at least {_HEADER.itemsize} of header")
    header = np.frombuffer(data, _HEADER, 1)[0]
    _check_header(header, shape, chunk_format)
    bits = int(np.prod(header["steps"], dtype=int))
    window = np.dtype(f"<u{next(width for width in (1, 2, 4, 8) if bits <= 8 * width)}")
    parts = []
    position = _HEADER.itemsize
    for name, dtype in (("ids", chunk_format.dtype), ("values", window), ("locations", chunk_format.dtype)):
        count = int(header[name])
        if count * dtype.itemsize > len(data) - position:
            raise DecodeError(f"compresso chunk of {len(data)} bytes has {count} {name} at {position}, which end beyond it")
        parts.append(np.frombuffer(data, dtype, count, position))
        position += count * dtype.itemsize
    length = len(data) - position - _index_length(header)
    if length < 0 or length % window.itemsize:
        raise DecodeError(f"compresso chunk has {length} bytes of windows, expected a multiple of {window.itemsize}")
    windows = np.frombuffer(data, window, length // window.itemsize, position)
    ids, values, locations = parts
    return _Stream(header, ids, values, locations, windows, _outline(header, values, windows))


def _check_header(header: Any, shape: Triple, chunk_format: ChunkFormat) -> None:
    if header["magic"] != b"cpso" or header["version"] > 1:
        raise DecodeError(
            f"compresso chunk begins with {bytes(header['magic'])!r}, format {header['version']}, expected b'cpso', format 0 or 1"
        )
    found = (*header["size"].tolist(), int(header["data_width"]))
    if found != (*shape, chunk_format.dtype.itemsize):
        raise DecodeError(
            f"compresso chunk has {found[0]} x {found[1]} x {found[2]} voxels of {found[3]} bytes, "
            f"expected {shape[0]} x {shape[1]} x {shape[2]} of {chunk_format.dtype.itemsize}"
        )
    steps = header["steps"].tolist()
    if not 1 <= steps[0] * steps[1] * steps[2] <= 64 or header["connectivity"] not in (4, 6):
        raise DecodeError(
            f"compresso chunk has windows of {steps} and connectivity {header['connectivity']}, "
            "expected 1 to 64 voxels a window and connectivity 4 or 6"
        )


def _index_length(header: Any) -> int:
    """Return the bytes of the index of slices: for each slice two numbers that count up to 2 * x * y."""
    x, y, z = header["size"].tolist()
    width = next(width for width in (1, 2, 4, 8) if 2 * x * y < 256**width - 1)
    return 2 * z * width if header["version"] == 1 else 0


def _outline(header: Any, values: NDArray[Any], windows: NDArray[Any]) -> NDArray[np.bool]:
    """Return which voxels, [z, y, x], are in an outline."""
    x, y, z = header["size"].tolist()
    sx, sy, sz = header["steps"].tolist()
    nx, ny, nz = -(-x // sx), -(-y // sy), -(-z // sz)
    counts = np.where(windows & 1, windows >> 1, 1).astype(np.uint64)
    if counts.max(initial=0) > nx * ny * nz or counts.sum() != nx * ny * nz:
        raise DecodeError(f"compresso chunk has {counts.sum()} windows, expected {nx} x {ny} x {nz}")
    numbers = np.where(windows & 1, 0, windows >> 1)
    if numbers.max() >= values.size:
        raise DecodeError(f"compresso chunk uses window {numbers.max()}, expected less than its {values.size} values")
    bits = values[:, np.newaxis] >> np.arange(sx * sy * sz, dtype=values.dtype) & 1
    blocks = bits.astype(np.bool)[np.repeat(numbers, counts.astype(np.int64))].reshape(nz, ny, nx, sz, sy, sx)
    outline: NDArray[np.bool] = blocks.transpose(0, 3, 1, 4, 2, 5).reshape(nz * sz, ny * sy, nx * sx)[:z, :y, :x]
    return outline


def _corners(chosen: NDArray[np.bool], outline: NDArray[np.bool], six_connected: bool) -> NDArray[np.bool]:
    """Return which of the chosen voxels have nothing but outline to their left, above them and, six-connected, before them."""
    corners = chosen.copy()
    corners[:, :, 1:] &= outline[:, :, :-1]
    corners[:, 1:] &= outline[:, :-1]
    if six_connected:
        corners[1:] &= outline[:-1]
    return corners


def _tokens(locations: NDArray[Any]) -> tuple[NDArray[np.uint32], NDArray[Any]]:
    """Return the code of each location, 0 to 5 for a neighbour and 6 for a label, and the labels in their order."""
    follows = np.zeros(locations.size + 1, np.bool)
    for place in np.flatnonzero(locations == _LABEL_FOLLOWS).tolist():
        follows[place + 1] = not follows[place]
    if follows[-1]:
        raise DecodeError("compresso chunk ends its locations where a label has to follow")
    kept = np.flatnonzero(~follows[:-1])
    codes = np.minimum(locations[kept], _LABEL_FOLLOWS).astype(np.uint32)
    kept = kept[codes == _LABEL_FOLLOWS]
    following = locations[np.minimum(kept + 1, locations.size - 1)]
    labels = np.where(locations[kept] == _LABEL_FOLLOWS, following, locations[kept] - locations.dtype.type(_FIRST_LABEL))
    return codes, labels


def _check_codes(codes: NDArray[np.uint32], places: NDArray[np.intp], shape: Triple) -> None:
    """Raise DecodeError unless there is one code a place [n, xyz] and none names a neighbour outside of shape."""
    if len(codes) != len(places):
        raise DecodeError(f"compresso chunk has {len(codes)} locations, expected {len(places)}")
    copied = codes < _LABEL_FOLLOWS
    neighbours = places[copied] + _NEIGHBOURS[codes[copied]]
    if ((neighbours < 0) | (neighbours >= shape)).any():
        raise DecodeError("compresso chunk has a location that copies a label from outside of the chunk")


def _component_numbers(stream: _Stream, codes: NDArray[np.uint32], most: int) -> NDArray[np.uint32]:
    """Return [x, y, z] the number of each voxel's component, from 1, and most + 1 + n where the n-th label of locations lies.

    The library is given a stream with these numbers in place of labels, and as many ids as there can be components.
    """
    import compresso

    header = stream.header.copy()
    header["version"], header["data_width"], header["ids"], header["locations"] = 0, 4, most, codes.size
    is_label = codes == _LABEL_FOLLOWS
    locations = codes.copy()
    locations[is_label] = _FIRST_LABEL + most + 1 + np.arange(is_label.sum())
    ids = np.arange(1, most + 1, dtype=np.uint32)
    parts = (header, ids, stream.values, locations, stream.windows)
    numbers: NDArray[np.uint32] = compresso.decompress(b"".join(part.tobytes() for part in parts))
    return numbers
