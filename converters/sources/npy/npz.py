"""Arrays of numpy in a zip file, .npz (numpy.savez; APPNOTE.TXT of PKWARE): stored ones are mapped, deflated ones unpacked."""

import io
import math
import struct
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

from converters.errors import OptionError, SourceError
from converters.sources.axes import shape_text
from converters.sources.npy.npy import NpyHeader, npy_source, parse_header, read_header
from converters.sources.packed import PackedSource, Packing, first_unpacked_bytes
from converters.sources.source import Source, SourceOptions

_MOST_HEADER_BYTES = 1 << 17
"""More than numpy itself takes of a header."""
_MOST_NAMED = 20
_LOCAL_HEADER = struct.Struct("<4s22xHH")
"""Signature, and the lengths of the name and of the extra field, which the member's bytes follow."""
_LOCAL_SIGNATURE = b"PK\x03\x04"
_ENCRYPTED = 1
_UNREADABLE = (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, OverflowError, EOFError, IndexError)
"""What zipfile raises where the directory at a file's end is not sound."""


@dataclass(frozen=True)
class _Member:
    """An array's place in the zip file: begin, the file's bytes before it, packed, how many it takes, size, unpacked."""

    path: Path
    array: str
    begin: int
    packed: int
    size: int
    deflated: bool
    crc: int

    @property
    def name(self) -> str:
        return f"{self.path}, array {self.array}"

    @property
    def packing(self) -> Packing:
        return Packing("deflate", self.begin, self.packed, self.crc)

    def first_bytes(self) -> io.BytesIO:
        if self.deflated:
            return io.BytesIO(first_unpacked_bytes(self.path, self.packing, _MOST_HEADER_BYTES))
        with self.path.open("rb") as file:
            file.seek(self.begin)
            return io.BytesIO(file.read(min(_MOST_HEADER_BYTES, self.packed)))


def open_npz(path: Path, options: SourceOptions) -> Source:
    """Return the source of one array of an .npz file: the one that options.array names, or the only one.

    Raises SourceError for what is no such file, is encrypted, damaged or holds no array of numbers, OptionError that lists the
    arrays where none or another one is named, and where --axes or --resolution is needed.
    """
    members = _members(path)
    member = _place(path, _chosen(path, members, options.array))
    header = read_header(member.name, member.first_bytes())
    _check_size(member, header)
    if member.deflated:
        return PackedSource(npy_source(path, member.name, header, options), member.packing)
    source = npy_source(path, member.name, replace(header, offset=header.offset + member.begin), options)
    source.array.check_size()
    return source


def _members(path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the zip file's arrays by the names that numpy gives them."""
    try:
        with zipfile.ZipFile(path) as file:
            entries = {entry.filename: entry for entry in file.infolist()}
    except _UNREADABLE as error:
        raise SourceError(f"{path}: not an .npz file, or one that is cut short ({error}): copy it again") from error
    members = {name.removesuffix(".npy"): entry for name, entry in entries.items() if name.endswith(".npy")}
    if not members:
        raise SourceError(f"{path}: a zip file without an array: {len(entries)} files in it, none of them ends in .npy")
    return members


def _chosen(path: Path, members: dict[str, zipfile.ZipInfo], array: str | None) -> zipfile.ZipInfo:
    if array is not None and (found := members.get(array.removesuffix(".npy"))) is not None:
        return found
    if array is None and len(members) == 1:
        return next(iter(members.values()))
    told = ", ".join(_described(path, name, entry) for name, entry in list(members.items())[:_MOST_NAMED])
    more = f" and {len(members) - _MOST_NAMED} more" if len(members) > _MOST_NAMED else ""
    found_ = "holds" if array is None else f"no array {array} in it; it holds"
    raise OptionError(f"{path}: {found_} {told}{more}: add --array NAME, e.g. --array {next(iter(members))}")


def _described(path: Path, name: str, entry: zipfile.ZipInfo) -> str:
    try:
        member = _place(path, entry)
        header = parse_header(member.name, member.first_bytes())
    except SourceError:
        return f"{name} (not readable)"
    return f"{name} ({shape_text(header.shape)}, {header.dtype})"


def _place(path: Path, entry: zipfile.ZipInfo) -> _Member:
    """Return where the member's own bytes lie, which only its local header tells."""
    name = entry.filename.removesuffix(".npy")
    if entry.flag_bits & _ENCRYPTED:
        raise SourceError(f"{path}, array {name}: encrypted, which is not read; save the array without a password")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise SourceError(
            f"{path}, array {name}: packed by method {entry.compress_type} of zip, 0 (stored) and 8 (deflate) are read; "
            "save it with numpy.savez or numpy.savez_compressed"
        )
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, entry.header_offset))
        data = file.read(_LOCAL_HEADER.size)
    signature, name_length, extra_length = _LOCAL_HEADER.unpack(data.ljust(_LOCAL_HEADER.size, b"\0"))
    begin = entry.header_offset + _LOCAL_HEADER.size + name_length + extra_length
    if signature != _LOCAL_SIGNATURE or begin + entry.compress_size > size:
        raise SourceError(f"{path}, array {name}: the zip file is damaged where the array begins or cut short: copy it again")
    deflated = entry.compress_type == zipfile.ZIP_DEFLATED
    return _Member(path, name, begin, entry.compress_size, entry.file_size, deflated, entry.CRC)


def _check_size(member: _Member, header: NpyHeader) -> None:
    expected = header.offset + math.prod(header.shape) * header.dtype.itemsize
    if member.size < expected:
        raise SourceError(
            f"{member.name}: {member.size} bytes unpacked told by the zip file, {expected} expected from the array's header: "
            "the file is damaged; copy it again"
        )
