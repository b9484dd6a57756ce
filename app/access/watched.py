"""Files that are read again when they have changed, by every server process for itself."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from converters.errors import ConverterError

_LOOK_SECONDS = 1.0

_log = logging.getLogger(__name__)

Content = TypeVar("Content")


class Watched(Generic[Content]):
    """What a file says, looked at once a second at most.

    read: returns it, of a file that is not there too; raises ConverterError, OSError. unreadable: what holds when it raises.
    """

    def __init__(self, path: Path, read: Callable[[], Content], unreadable: Callable[[], Content]) -> None:
        self._path = path
        self._read = read
        self._unreadable = unreadable
        self._next_look = float("-inf")
        self._version: tuple[int, ...] | None = ()
        self._content = unreadable()

    def get(self) -> Content:
        """Return what the file says."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + _LOOK_SECONDS
            self._look()
        return self._content

    def look_again(self) -> None:
        """Look at the file when it is asked for next."""
        self._next_look = float("-inf")

    def _look(self) -> None:
        try:
            status = os.stat(self._path)
            version = (status.st_mtime_ns, status.st_size, status.st_ino)
        except OSError:
            version = None
        if version == self._version:
            return
        try:
            self._content = self._read()
        except (ConverterError, OSError) as error:
            self._content = self._unreadable()
            _log.error("nobody is let in by %s, it cannot be read: %s", self._path, error)
        # Last, so that another thread that comes in between looks itself and uses nothing that is old.
        self._version = version
