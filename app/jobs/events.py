"""Changes of jobs as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool

from app.jobs.job import ENDED, Job

_LOOK_SECONDS = 0.25
_COMMENT_SECONDS = 15.0

Changed = Callable[[int], list[Job]]
"""Gives the jobs that have changed since a change, in their order, with their links."""


@dataclass(frozen=True)
class Stream:
    """What a client listens to. job: to this one alone. since: the last change that it knows; None for none."""

    job: int | None
    since: int | None


class Events:
    """The event streams of a server process, which would last for ever: close() ends them all."""

    def __init__(self) -> None:
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End all streams, open ones and later ones. Call it in the event loop that serves them."""
        self._closing.set()

    async def texts(self, stream: Stream, changed: Changed, is_gone: Callable[[], Awaitable[bool]]) -> AsyncIterator[str]:
        """Yield the events until the client is gone, the job has ended, or the streams are closed."""
        last = stream.since or 0
        knows_nothing = stream.since is None
        told_at = time.monotonic()
        yield "retry: 2000\n\n"
        while not self._closing.is_set() and not await is_gone():
            for job in await run_in_threadpool(changed, last):
                last = job.change
                if stream.job not in (None, job.id) or (knows_nothing and job.removed):
                    continue
                told_at = time.monotonic()
                yield _text(job)
                if stream.job is not None and (job.removed or job.state in ENDED):
                    return
            knows_nothing = False
            if time.monotonic() - told_at > _COMMENT_SECONDS:
                told_at = time.monotonic()
                yield ": nothing new\n\n"
            await self._pause()

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._closing.wait(), _LOOK_SECONDS)
        except TimeoutError:
            return


def _text(job: Job) -> str:
    if job.removed:
        return f'id: {job.change}\nevent: removed\ndata: {{"id": {job.id}}}\n\n'
    return f"id: {job.change}\nevent: job\ndata: {job.model_dump_json()}\n\n"
