"""Files that come over HTTP, streamed to a folder that is never served, and taken up again where a connection broke.

What has come of a file lies in a folder of its own until it is whole; then it is moved to its place, where a source finds it.
"""

import errno
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from app.jobs.locks import try_lock
from app.jobs.places import UPLOADS
from converters.errors import ConverterError
from converters.record import PRIVATE

_PARTIAL = f"{PRIVATE}/partial"
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)
_DEEPEST = 16
_LONGEST_PART = 240
"""Bytes of a part of a name; file systems take 255."""
_SPARE = 1 << 28
"""Bytes that an upload leaves free on the disk: for the server's own files."""
_WRITTEN = 1 << 20
"""Bytes that are written together."""


class UploadError(ConverterError):
    """An upload that is refused. status: of HTTP. offset: the bytes that are there, where that is what is wrong."""

    def __init__(self, sentence: str, status: int, offset: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.offset = offset


class Upload(BaseModel):
    """A file or folder. source: for a job's options. offset, length: bytes that are there, and that there will be."""

    name: str
    source: str
    kind: str = "file"
    offset: int | None
    length: int | None
    complete: bool


class UploadList(BaseModel):
    """Files and folders at the top, and the most bytes that one file may have."""

    uploads: list[Upload]
    limit: int


@dataclass(frozen=True)
class Span:
    """Which bytes of a file a request brings. start: position of the first. length: of the whole file, None where unknown."""

    start: int
    length: int | None


def span_of(content_range: str | None, content_length: str | None) -> Span:
    """Return what the headers of a PUT tell. Raises UploadError."""
    if content_range is None:
        return Span(0, int(content_length) if content_length and content_length.isdecimal() else None)
    match = _RANGE.fullmatch(content_range.strip())
    start, last, length = map(int, match.groups()) if match else (0, -1, 0)
    if not match or not start <= last < length:
        raise UploadError(f"Content-Range {content_range!r}: expected bytes START-END/TOTAL, such as bytes 0-99/1000", 400)
    return Span(start, length)


@dataclass(frozen=True)
class Uploads:
    """The uploads of a served folder. limit: bytes of one file."""

    root: Path
    limit: int

    def find(self, name: str) -> Upload:
        """Return what there is of a file or folder. Raises UploadError."""
        place, partial = self._place(name), self._partial(name)
        if place.is_dir():
            return self._entry(name, "folder", None, None, complete=not partial.exists())
        with suppress(FileNotFoundError):
            there = partial.stat().st_size
            return self._entry(name, "file", there, self._length(name), complete=False)
        with suppress(FileNotFoundError, NotADirectoryError):
            there = place.stat().st_size
            return self._entry(name, "file", there, there, complete=True)
        raise UploadError(f"there is no upload {name!r}", 404)

    def all(self) -> UploadList:
        """Return the files and folders at the top."""
        names = {name for folder in (UPLOADS, _PARTIAL) for name in _names(self.root / folder) if not name.startswith(".")}
        return UploadList(uploads=[self.find(name) for name in sorted(names)], limit=self.limit)

    def remove(self, name: str) -> None:
        """Remove a file or folder, complete or not. Raises UploadError, OSError."""
        self.find(name)
        for path in (self._partial(name), self._place(name), self._notes(name)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    async def take(self, name: str, span: Span, body: AsyncIterator[bytes]) -> Upload:
        """Write what a request brings, and put the file in its place when it is whole. Raises UploadError, OSError.

        What came before a connection broke stays.
        """
        descriptor = await run_in_threadpool(self._open, name, span)
        try:
            there = await self._write(descriptor, span, body)
            if span.length is None or there == span.length:
                await run_in_threadpool(self._finish, name)
        finally:
            os.close(descriptor)
        return await run_in_threadpool(self.find, name)

    async def _write(self, descriptor: int, span: Span, body: AsyncIterator[bytes]) -> int:
        """Write a body and return the bytes that are there then. Raises UploadError."""
        there, waiting = span.start, bytearray()
        most = self.limit if span.length is None else span.length
        try:
            async for data in body:
                there += len(data)
                if there > most:
                    self._check_size(there)
                    raise UploadError(f"the body brings more than the {most} bytes that were told", 400)
                waiting += data
                if len(waiting) >= _WRITTEN:
                    data = bytes(waiting)
                    waiting.clear()
                    await run_in_threadpool(_write_all, descriptor, data)
        finally:
            # Also when the client has gone, and nothing can be waited for any more.
            _write_all(descriptor, bytes(waiting))
        return there

    def _open(self, name: str, span: Span) -> int:
        """Return a descriptor at the end of what there is of a file, held by this request alone. Raises UploadError."""
        partial, place = self._partial(name), self._place(name)
        self._check_size(span.length or 0)
        if place.is_dir():
            raise UploadError(f"{name}: a folder of this name was uploaded; choose another name, or delete it first", 409)
        try:
            for folder in (partial.parent, place.parent, self._notes(name).parent):
                folder.mkdir(parents=True, exist_ok=True)
            descriptor = try_lock(partial)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise UploadError(f"{name}: a file and a folder cannot have the same name; choose another name", 409) from None
        if descriptor is None:
            raise UploadError(f"{name}: another upload of this name is under way", 409, _size(partial))
        try:
            if not _is_at(descriptor, partial):
                raise UploadError(f"{name}: another upload of this name has just ended", 409)
            self._begin(descriptor, name, span)
        except BaseException:
            if _size(partial) == 0:
                self._notes(name).unlink(missing_ok=True)
                partial.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        return descriptor

    def _begin(self, descriptor: int, name: str, span: Span) -> None:
        there = os.fstat(descriptor).st_size
        length = self._length(name)
        if span.start not in (0, there) or (span.start and length not in (None, span.length)):
            of_all = "" if length is None else f" of {length}"
            raise UploadError(f"{name}: {there} bytes{of_all} are there, so START is {there} or 0", 409, there)
        free = os.statvfs(self.root).f_bavail * os.statvfs(self.root).f_frsize
        if (span.length or 0) - span.start > free - _SPARE:
            raise UploadError(f"{name}: the disk has room for {max(0, free - _SPARE)} bytes more, not for all of it", 507)
        os.ftruncate(descriptor, span.start)
        os.lseek(descriptor, span.start, os.SEEK_SET)
        self._notes(name).write_text("" if span.length is None else str(span.length))

    def _finish(self, name: str) -> None:
        os.replace(self._partial(name), self._place(name))
        self._notes(name).unlink(missing_ok=True)
        for path in (self._partial(name), self._notes(name)):
            with suppress(OSError):  # others of the same folder are under way
                for folder in list(path.parents)[: name.count("/")]:
                    folder.rmdir()

    def _check_size(self, size: int) -> None:
        if size > self.limit:
            raise UploadError(
                f"the file has more than the {self.limit} bytes that this server takes (GLASSINE_UPLOAD_LIMIT)", 413
            )

    def _length(self, name: str) -> int | None:
        """Return the bytes that a file under way will have, None where that is not known."""
        try:
            text = self._notes(name).read_text()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return int(text) if text else None

    def _entry(self, name: str, kind: str, offset: int | None, length: int | None, *, complete: bool) -> Upload:
        return Upload(name=name, source=f"{UPLOADS}/{name}", kind=kind, offset=offset, length=length, complete=complete)

    def _place(self, name: str) -> Path:
        return self.root / UPLOADS / _checked(name)

    def _partial(self, name: str) -> Path:
        return self.root / _PARTIAL / _checked(name)

    def _notes(self, name: str) -> Path:
        return self.root / _PARTIAL / ".lengths" / _checked(name)


def _checked(name: str) -> str:
    """Return a name whose parts are all names of files. Raises UploadError."""
    parts = name.split("/")
    wrong = next((part for part in parts if part in ("", ".", "..", PRIVATE) or len(part.encode()) > _LONGEST_PART), None)
    if wrong is not None or name.startswith(".") or len(parts) > _DEEPEST or re.search(r"[\x00-\x1f\x7f\\]", name):
        raise UploadError(f"{name!r} cannot be the name of an upload, expected NAME or FOLDER/FILE", 400)
    return name


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _size(path: Path) -> int | None:
    with suppress(OSError):
        return path.stat().st_size
    return None


def _is_at(descriptor: int, path: Path) -> bool:
    """Tell whether an open file is still the one at a path, and was not moved to its place before its lock was had."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def _write_all(descriptor: int, data: bytes) -> None:
    """Write all of data. Raises UploadError when the disk is full."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UploadError("no room is left on the disk; what came stays, go on when there is room", 507) from error
        raise
