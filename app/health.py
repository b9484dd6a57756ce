"""/healthz: whether this server is to be asked. docs/metrics.md tells what it answers, and why no more than that."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

_PATIENCE_SECONDS = 3.0
"""How long the disk may take; whoever asks has more patience."""
_HEADERS = {"Cache-Control": "no-store"}


class Health:
    """Answers for a server on a folder; use it in one event loop."""

    def __init__(self, root: Path, patience: float = _PATIENCE_SECONDS) -> None:
        self._root = root
        self._patience = patience
        self._stopping = False
        self._looking: asyncio.Future[None] | None = None
        # A thread of its own: where the disk hangs, those that read chunks all wait for it.
        self._thread = ThreadPoolExecutor(1, "glassine-health")

    def stop(self) -> None:
        """Be no longer well: the server is told to stop."""
        self._stopping = True
        self._thread.shutdown(wait=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        trouble = "the server is being stopped" if self._stopping else await self._trouble()
        status, sentence = (200, "ok") if trouble is None else (503, trouble)
        await PlainTextResponse(f"{sentence}\n", status, headers=_HEADERS)(scope, receive, send)

    async def _trouble(self) -> str | None:
        """Return what keeps the server from answering, None when nothing does."""
        # All who ask wait for the same look, so that a disk that hangs takes one thread.
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().run_in_executor(self._thread, _look, self._root)
            # Whoever asked may have lost patience: nobody else takes note of the error then.
            self._looking.add_done_callback(lambda looked: looked.cancelled() or looked.exception())
        try:
            await asyncio.wait_for(asyncio.shield(self._looking), self._patience)
        except TimeoutError:
            return "the served folder does not answer"
        except OSError:
            return "the served folder is not there or cannot be read"
        return None


def _look(root: Path) -> None:
    """Raise OSError unless a folder can be read."""
    os.scandir(root).close()
