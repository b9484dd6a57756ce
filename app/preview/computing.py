"""Previews of chunks, computed in processes of their own and kept for a while."""

import asyncio
import time
from collections import OrderedDict
from concurrent.futures import BrokenExecutor, Executor

from app.preview.runs import Run
from converters.executor import open_apart
from converters.volumes.preview import NotReadyError, background_chunk, preview_file

_PROCESSES = 2
_KEPT_BYTES = 128 << 20
_PATIENCE_SECONDS = 1.5
"""How long a request waits before it is told to come back."""
_INFO_SECONDS = 15.0
"""The same for an info: processes may have to start for it, and without it there is nothing to look at."""
_LONGEST_SECONDS = 60.0
"""How long a client is told to come back: the viewer gives a chunk up after some minutes."""
_FORGOTTEN_SECONDS = 20.0
"""Who comes back does so sooner; later it is asked for anew."""
_IDLE_SECONDS = 60.0
"""How long the processes wait for more to do."""
_MOST_PENDING = 400
"""What several viewers ask for at once; the 100 of each are answered in the order in which they came."""
_MOST_ASKED = 10_000


class Previews:
    """Infos and chunks of runs; use it in one event loop, and close it at the end."""

    def __init__(self, patience: float = _PATIENCE_SECONDS, longest: float = _LONGEST_SECONDS) -> None:
        self._patience = patience
        self._longest = longest
        self._executor: Executor | None = None
        self._pending: dict[tuple[Run, str], asyncio.Future[bytes | None]] = {}
        self._asked: OrderedDict[tuple[Run, str], tuple[float, float]] = OrderedDict()
        self._idle: asyncio.TimerHandle | None = None
        self._kept: OrderedDict[tuple[Run, str], bytes | None] = OrderedDict()
        self._bytes = 0

    async def info(self, run: Run) -> bytes | None:
        """Return the `info` of a run's dataset, without shards; None where the run is no conversion. Raises TimeoutError."""
        return await self._get((run, "info"), _INFO_SECONDS)

    async def chunk(self, run: Run, name: str) -> bytes | None:
        """Return a chunk, `KEY/x0-x1_y0-y1_z0-z1`, None where the dataset will have none of this name.

        Raises TimeoutError when it is not there in a second or two, ask again; one that is asked for too long is background.
        """
        key = (run, name)
        try:
            found = await self._get(key, self._patience)
        except TimeoutError:
            if self._asked_for(key) < self._longest:
                raise
            return await self._background(run, name)
        self._asked.pop(key, None)
        return found

    async def _background(self, run: Run, name: str) -> bytes | None:
        """Return a chunk of zeros; what it is of is known, because the viewer has had the info."""
        info = await self.info(run)
        return None if info is None else await asyncio.to_thread(background_chunk, info, name)

    def close(self) -> None:
        """End the processes as soon as what they are at is done."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None

    def _asked_for(self, key: tuple[Run, str]) -> float:
        """Return for how many seconds something has been asked for again and again, this time included."""
        now = time.monotonic()
        first, last = self._asked.pop(key, (now, now))
        if now - last > _FORGOTTEN_SECONDS:
            first = now
        self._asked[key] = first, now
        if len(self._asked) > _MOST_ASKED:
            self._asked.popitem(last=False)
        return now - first

    async def _get(self, key: tuple[Run, str], patience: float) -> bytes | None:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        future = self._pending.get(key)
        if future is None:
            if len(self._pending) >= _MOST_PENDING:
                raise TimeoutError("many others are waiting")
            future = self._pending[key] = asyncio.ensure_future(self._compute(key))
            # Where nobody waits any more its error is nobody's.
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            return await asyncio.wait_for(asyncio.shield(future), patience)
        except (NotReadyError, BrokenExecutor) as error:
            raise TimeoutError(str(error)) from error

    async def _compute(self, key: tuple[Run, str]) -> bytes | None:
        run, name = key
        try:
            if self._executor is None:
                self._executor = open_apart(_PROCESSES)
            found = await asyncio.wrap_future(self._executor.submit(preview_file, run.begun, name, run.spool))
        except BrokenExecutor:
            # A process was killed, for want of memory perhaps: the next request starts new ones.
            self.close()
            raise
        finally:
            del self._pending[key]
            self._close_when_idle()
        self._keep(key, found)
        return found

    def _close_when_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = None if self._pending else asyncio.get_running_loop().call_later(_IDLE_SECONDS, self.close)

    def _keep(self, key: tuple[Run, str], data: bytes | None) -> None:
        self._kept[key] = data
        self._bytes += len(data or b"")
        while self._bytes > _KEPT_BYTES or len(self._kept) > _MOST_ASKED:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest or b"")
