"""MRC and CCP4 maps (MRC2014, Cheng et al., J. Struct. Biol. 192:146; IMOD's additions: mrc_format.txt): lengths in ångström.

The first voxel's centre lies at `origin` where that is not 0, else at n*start, as ChimeraX and Mol* have it. In files of IMOD the
origin's sign is turned, unless a flag or a version number says that it follows MRC2014.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from converters.errors import OptionError, SourceError
from converters.geometry import Affine, Geometry, Lengths
from converters.sources.axes import check_axes, shape_text
from converters.sources.brain.header import ImageHeader, header_source
from converters.sources.packed import first_bytes
from converters.sources.placing import without_float32_noise
from converters.sources.source import Source, SourceOptions
from converters.sources.units import told_resolution
from formats.grid import Triple

_ByteOrder = Literal["<", ">"]
_FIELDS = {
    "n": ("3i4", 0),
    "mode": ("i4", 12),
    "start": ("3i4", 16),
    "m": ("3i4", 28),
    "cell": ("3f4", 40),
    "angles": ("3f4", 52),
    "map": ("3i4", 64),
    "least": ("f4", 76),
    "most": ("f4", 80),
    "ispg": ("i4", 88),
    "nsymbt": ("i4", 92),
    "nversion": ("i4", 108),
    "imod_stamp": ("i4", 152),
    "imod_flags": ("i4", 156),
    "origin": ("3f4", 196),
    "stamp": ("2u1", 212),
}
"""Words of the header -> type, bytes before it. n, start: of columns, rows, sections. m, cell: intervals of the cell and its
lengths along x, y, z. map: which of x, y, z (1, 2, 3) columns, rows, sections are. least, most: of the voxels. nsymbt: bytes of
the extended header."""
_HEADER_BYTES = 1024
_MODES: dict[int, np.dtype[Any]] = {
    0: np.dtype("i1"),
    1: np.dtype("i2"),
    2: np.dtype("f4"),
    6: np.dtype("u2"),
    12: np.dtype("f2"),
    16: np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]),
}
_REFUSED = {
    3: "complex numbers; save their magnitude as float32 (mode 2)",
    4: "complex numbers; save their magnitude as float32 (mode 2)",
    101: "of 4 bits; save them as bytes (mode 0), e.g. with newstack of IMOD",
}
_BYTE_ORDERS: dict[tuple[int, int], _ByteOrder] = {(0x44, 0x44): "<", (0x44, 0x41): "<", (0x11, 0x11): ">"}
"""The machine stamp's first two bytes -> byte order."""
_VOLUME_STACKS = range(401, 631)
"""Space groups of stacks of volumes."""
_IMOD_STAMP = 1146047817
_SIGNED_BYTES, _MRC2014_ORIGIN, _FOUR_BITS = 1, 4, 16
"""IMOD's flags."""
_LARGEST_INT8 = 127
_ANGSTROM_NM = 0.1


@dataclass(frozen=True)
class _Header:
    """The header's words. Arrays along x, y, z where not said otherwise."""

    path: Path
    fields: Any

    def number(self, field: str) -> int:
        return int(self.fields[field])

    def triple(self, field: str) -> Triple:
        a, b, c = (int(n) for n in self.fields[field])
        return a, b, c

    def lengths(self, field: str) -> Lengths:
        a, b, c = (float(n) for n in self.fields[field])
        return a, b, c

    @property
    def is_volume_stack(self) -> bool:
        return self.number("ispg") in _VOLUME_STACKS

    def imod_flag(self, flag: int) -> bool:
        return self.number("imod_stamp") == _IMOD_STAMP and bool(self.number("imod_flags") & flag)

    @property
    def along(self) -> Triple:
        """0, 1, 2 for x, y, z: what columns, rows, sections are; the usual order where the header tells none."""
        found = self.triple("map")
        if sorted(found) != [1, 2, 3]:
            return 0, 1, 2
        return found[0] - 1, found[1] - 1, found[2] - 1

    def sizes(self) -> tuple[float | None, ...]:
        """Return ångström a voxel along x, y, z, None where the header tells no intervals."""
        told = zip(self.lengths("cell"), self.triple("m"), strict=True)
        return tuple(without_float32_noise(length / intervals) if intervals > 0 else None for length, intervals in told)

    def origin(self) -> Lengths:
        """Return where the first voxel's centre is, in ångström; 0, 0, 0 where the header does not tell it."""
        x, y, z = self.lengths("origin")
        if not np.isfinite((x, y, z)).all():
            return 0.0, 0.0, 0.0
        follows = self.imod_flag(_MRC2014_ORIGIN) or self.number("nversion") > 0
        turned = self.number("imod_stamp") == _IMOD_STAMP and not follows
        return (-x, -y, -z) if turned else (x, y, z)


@np.errstate(all="ignore")
def open_mrc(path: Path, options: SourceOptions) -> Source:
    """Return the source of an MRC or CCP4 file, perhaps gzip; axes in the options name columns, rows, sections, volumes.

    Raises SourceError for what is no such file and for complex or 4-bit voxels, OptionError where an option is needed or does
    not fit.
    """
    header = _read(path)
    dtype, notes = _data_type(header)
    shape = _shape(header)
    axes = _axes(header, shape, options)
    geometry = _geometry(header, axes, options)
    notes += _notes(header, options)
    offset = _HEADER_BYTES + header.number("nsymbt")
    return header_source(path, ImageHeader(path, offset, shape, axes, dtype, geometry, notes=notes), options)


def _read(path: Path) -> _Header:
    data = first_bytes(path, _HEADER_BYTES)
    if len(data) < _HEADER_BYTES:
        raise SourceError(f"{path}: {len(data)} bytes, and an MRC file begins with a header of {_HEADER_BYTES}: copy it again")
    orders: tuple[_ByteOrder, ...] = (">", "<") if _stamped_order(data) == ">" else ("<", ">")
    for order in orders:
        header = _Header(path, np.frombuffer(data, _dtype(order), 1)[0])
        if _is_plausible(header):
            return header
    raise SourceError(f"{path}: not an MRC file: in neither byte order are its first words those of an MRC header")


def _dtype(order: _ByteOrder) -> np.dtype[Any]:
    formats = [np.dtype(kind).newbyteorder(order) for kind, _ in _FIELDS.values()]
    offsets = [offset for _, offset in _FIELDS.values()]
    return np.dtype({"names": list(_FIELDS), "formats": formats, "offsets": offsets, "itemsize": _HEADER_BYTES})


def _stamped_order(data: bytes) -> _ByteOrder | None:
    at = _FIELDS["stamp"][1]
    return _BYTE_ORDERS.get((data[at], data[at + 1]))


def _is_plausible(header: _Header) -> bool:
    # Files from before MRC2000 have neither machine stamp nor "MAP ", and IMOD's stamps are odd at times.
    modes = _MODES.keys() | _REFUSED.keys()
    axes = all(abs(axis) <= 3 for axis in header.triple("map"))
    return min(header.triple("n")) > 0 and header.number("mode") in modes and axes and header.number("nsymbt") >= 0


def _data_type(header: _Header) -> tuple[np.dtype[Any], tuple[str, ...]]:
    """Return the voxels' data type, in the header's byte order, and notes."""
    mode = header.number("mode")
    if mode == 0 and header.imod_flag(_FOUR_BITS):
        mode = 101
    if mode in _REFUSED:
        raise SourceError(f"{header.path}: its voxels (mode {header.number('mode')}) are {_REFUSED[mode]}")
    if mode != 0:
        return _MODES[mode].newbyteorder(header.fields.dtype["mode"].byteorder), ()
    if header.number("imod_stamp") == _IMOD_STAMP:
        return np.dtype("i1" if header.imod_flag(_SIGNED_BYTES) else "u1"), ()
    least, most = float(header.fields["least"]), float(header.fields["most"])
    if least >= 0 and most > _LARGEST_INT8:
        return np.dtype("u1"), (f"bytes are taken as unsigned, as the header tells values from {least:g} to {most:g}",)
    return np.dtype("i1"), ()


def _shape(header: _Header) -> tuple[int, ...]:
    """Return columns, rows, sections and, of a stack of volumes, volumes."""
    columns, rows, sections = header.triple("n")
    if not header.is_volume_stack:
        return columns, rows, sections
    deep = header.triple("m")[2]
    if deep < 1 or sections % deep:
        raise SourceError(
            f"{header.path}: a stack of volumes (space group {header.number('ispg')}) of {sections} sections, mz {deep}: "
            "mz tells the sections of one volume, and a multiple of it is expected; the header is damaged"
        )
    return columns, rows, deep, sections // deep


def _axes(header: _Header, shape: tuple[int, ...], options: SourceOptions) -> str:
    if options.axes is not None:
        check_axes(str(header.path), options.axes, shape)
        return options.axes
    found = header.triple("map")
    if any(found) and sorted(found) != [1, 2, 3]:
        raise OptionError(
            f"{header.path}: its header names the axes {', '.join(map(str, found))} (mapc, mapr, maps), expected each of 1, 2, 3 "
            f"once: add --axes with a letter for columns, rows, sections ({shape_text(shape)}), e.g. --axes xyz"
        )
    return "".join("xyz"[axis] for axis in header.along) + ("t" if header.is_volume_stack else "")


def _geometry(header: _Header, axes: str, options: SourceOptions) -> Geometry:
    sizes = header.sizes()
    told = {letter: sizes[along] for letter, along in zip(axes, header.along, strict=False)}
    by_letter = (told.get("x"), told.get("y"), told.get("z"))
    resolution = told_resolution(str(header.path), by_letter, ("angstrom",) * 3, options)
    return Geometry(resolution, options.offset, _affine(header, axes, resolution))


def _affine(header: _Header, axes: str, resolution: Lengths) -> Affine | None:
    """Return the affine to the coordinates that the header tells, in nm; None where it tells none."""
    start = header.triple("start")
    if not (any(header.origin()) or any(start)) or set(axes[:3]) != set("xyz"):
        return None
    rows = np.zeros((3, 4))
    for letter, along, first in zip(axes, header.along, start, strict=False):
        length = resolution["xyz".index(letter)]
        rows[along, "xyz".index(letter)] = length
        rows[along, 3] = header.origin()[along] * _ANGSTROM_NM if any(header.origin()) else first * length
    x, y, z = ((float(a), float(b), float(c), float(d)) for a, b, c, d in rows)
    return x, y, z


def _notes(header: _Header, options: SourceOptions) -> tuple[str, ...]:
    notes: tuple[str, ...] = ()
    if options.resolution is None and header.sizes() == (1.0, 1.0, 1.0):
        notes += ("the header tells 1 ångström a voxel, as programs do that know none; --resolution X,Y,Z (nm) says otherwise",)
    if any(angle not in (0.0, 90.0) for angle in header.lengths("angles")):
        angles = ", ".join(f"{angle:g}" for angle in header.lengths("angles"))
        notes += (f"the cell's angles ({angles} degrees) are left out: voxels are taken as right-angled",)
    return notes
