"""What lies below `/data`, and what is not there yet: the files of a run, and chunks computed from its source."""

import asyncio
import errno
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

from app.data.lookup import DiskFiles, is_servable
from app.data.reply import Made, message
from app.data.route import PREFIX, DataApp, Found, real_root
from app.flat.files import FlatFiles
from app.preview.computing import Previews
from app.preview.runs import Advance, Run, place_of_run, run_at
from formats.grid import is_chunk_name

_NOT_READY = message(503, b"This is not written yet; it will be.\n", (b"retry-after", b"1"))
_QUIET_SECONDS = 1.0
"""How long a folder is known not to be written to, and a run to be at work."""
_MOST_KNOWN = 1000


def previewed_app(root: Path, previews: Previews | None) -> DataApp:
    """Return the application of /data/... for the files below root; previews: None where nothing that is not there is made."""
    disk = DiskFiles(real_root(root))
    return DataApp(PREFIX, PreviewedFiles(disk, FlatFiles(disk), previews))


class _Known:
    """What was found out about folders a moment ago: the run that writes there, None for none."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[float, str | None, Run | None]] = {}

    def is_quiet(self, folder: str) -> bool:
        """Tell whether no run was at work in or above a folder a moment ago."""
        found = self._found.get(folder)
        return found is not None and found[2] is None and time.monotonic() < found[0]

    async def run(self, root: str, path: str) -> tuple[str, Run] | None:
        """Return the folder of the dataset that a path belongs to and the run that writes it, None where there is none."""
        above = path.rpartition("/")[0]
        found = self._found.get(above)
        if found is None or time.monotonic() >= found[0]:
            place, run = await asyncio.to_thread(_find_run, root, path)
            if len(self._found) >= _MOST_KNOWN:
                self._found.clear()
            found = self._found[above] = (time.monotonic() + _QUIET_SECONDS, place, run)
        return (found[1], found[2]) if found[1] is not None and found[2] is not None else None


def _find_run(root: str, path: str) -> tuple[str | None, Run | None]:
    folder = place_of_run(root, path)
    return folder, None if folder is None else run_at(root, folder)


@dataclass(frozen=True)
class PreviewedFiles:
    """The files of datasets; chunks of sharded ones too, and of those that are being written; see route.Files."""

    disk: DiskFiles
    flat: FlatFiles
    previews: Previews | None
    known: _Known = field(default_factory=_Known)
    advances: dict[str, Advance] = field(default_factory=dict)

    def at_once(self, path: str) -> Found | None:
        """Return what answers path. Raises OSError when that takes waiting, or something there cannot be read."""
        found: Found | None = self.disk.at_once(path)
        if found is None and _may_be_made(path):
            found = self.flat.chunk_at_once(path)
            if found is None and self.previews is not None and not self.known.is_quiet(path.rpartition("/")[0]):
                raise BlockingIOError(errno.EAGAIN, "it may be being written")
        return found

    async def find(self, path: str) -> Found | None:
        """Do the same, and wait if need be. Raises OSError, DecodeError when something there cannot be read, ConverterError."""
        found = await self._stored(path)
        if found is None and self.previews is not None and _may_be_made(path):
            # A dataset that is published in between is there when it is looked for again.
            found = await self._of_run(path, self.previews) or await self._stored(path)
        return found

    async def _stored(self, path: str) -> Found | None:
        """Return what lies on the disk, a chunk by its name out of shards too.

        Whoever opened a dataset while its shards were being made asks for its chunks so.
        """
        found: Found | None = await self.disk.find(path)
        return await self.flat.find_chunk(path) if found is None and _may_be_made(path) else found

    async def _of_run(self, path: str, previews: Previews) -> Found | None:
        known = await self.known.run(self.disk.root, path)
        if known is None:
            return None
        folder, run = known
        name = path[len(folder) + 1 :]
        try:
            if name == "info":
                return await self._info(run, previews)
            written = await DiskFiles(run.incoming).find(f"/{name}")
            if written is not None:
                return written
            made = await previews.chunk(run, name)
            return None if made is None else Made(made, b"")
        except TimeoutError:
            return _NOT_READY

    async def _info(self, run: Run, previews: Previews) -> Found | None:
        """Return the info from the plan; its member `preview` grows when much of what was asked for has been written."""
        info = await previews.info(run)
        if info is None:
            return None
        if len(self.advances) >= _MOST_KNOWN:
            self.advances.clear()
        advance = self.advances.setdefault(run.folder, Advance())
        generation = await asyncio.to_thread(advance.generation, run.journal)
        return Made(json.dumps({**json.loads(info), "preview": generation}, indent=1).encode(), b"")


def _may_be_made(path: str) -> bool:
    name = path.rpartition("/")[2]
    return (name == "info" or is_chunk_name(name)) and is_servable(path)
