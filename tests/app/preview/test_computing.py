"""Which preview is computed, kept, waited for and given up."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TypeVar

import pytest

from app.preview import computing
from app.preview.computing import Previews
from app.preview.runs import Run
from converters.errors import DamagedError
from converters.volumes.preview import NotReadyError

T = TypeVar("T")
RUN = Run("/root/vol", b"{}", "/root/vol/.glassine/run-1")
SCALE = {"key": "8_8_8", "size": [20, 20, 20], "resolution": [8, 8, 8], "chunk_sizes": [[16, 16, 16]], "encoding": "raw"}
INFO = json.dumps({"type": "image", "data_type": "uint16", "num_channels": 2, "scales": [SCALE]}).encode()
CHUNK = "8_8_8/16-20_0-16_0-16"


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> list[ThreadPoolExecutor]:
    """Threads in the place of processes, one list of all that were opened."""
    opened: list[ThreadPoolExecutor] = []

    def open_apart(workers: int) -> ThreadPoolExecutor:
        opened.append(ThreadPoolExecutor(workers))
        return opened[-1]

    monkeypatch.setattr(computing, "open_apart", open_apart)
    return opened


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Set what computing gives, a function of the name; returns the names that were computed, in order."""
    names: list[str] = []

    def by(answer: Callable[[str], bytes | None]) -> list[str]:
        def preview_file(begun: bytes, name: str, spool: Path) -> bytes | None:
            names.append(name)
            return answer(name)

        monkeypatch.setattr(computing, "preview_file", preview_file)
        return names

    return by


def in_a_loop(previews: Previews, ask: Callable[[], Awaitable[T]]) -> T:
    async def run() -> T:
        try:
            return await ask()
        finally:
            previews.close()

    return asyncio.run(run())


def test_what_many_ask_for_at_once_is_computed_once_and_kept(computed: Callable[..., list[str]]) -> None:
    names = computed(lambda name: name.encode())
    previews = Previews()

    async def ask() -> list[bytes | None]:
        first = await asyncio.gather(*(previews.chunk(RUN, CHUNK) for _ in range(20)))
        return [*first, await previews.chunk(RUN, CHUNK), await previews.chunk(RUN, "other")]

    assert in_a_loop(previews, ask) == [CHUNK.encode()] * 21 + [b"other"]
    assert names == [CHUNK, "other"]


def test_what_takes_long_is_asked_for_again_and_then_there(computed: Callable[..., list[str]]) -> None:
    go_on = threading.Event()
    names = computed(lambda name: b"at last" if go_on.wait(30) else None)
    previews = Previews(patience=0.01)

    async def ask() -> bytes | None:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await previews.chunk(RUN, CHUNK)
        go_on.set()
        while True:
            try:
                return await previews.chunk(RUN, CHUNK)
            except TimeoutError:
                await asyncio.sleep(0.01)

    assert in_a_loop(previews, ask) == b"at last"
    assert names == [CHUNK]


def test_what_never_comes_is_background_before_the_viewer_gives_it_up(computed: Callable[..., list[str]]) -> None:
    def answer(name: str) -> bytes:
        if name == "info":
            return INFO
        raise NotReadyError("the source is being unpacked")

    computed(answer)
    previews = Previews(longest=0.05)

    async def ask() -> bytes | None:
        with pytest.raises(TimeoutError):
            await previews.chunk(RUN, CHUNK)
        await asyncio.sleep(0.06)
        return await previews.chunk(RUN, CHUNK)

    assert in_a_loop(previews, ask) == bytes(4 * 16 * 16 * 2 * 2)


def test_an_error_is_told_and_not_kept(computed: Callable[..., list[str]]) -> None:
    def answer(name: str) -> bytes:
        raise DamagedError("the source has gone")

    names = computed(answer)
    previews = Previews()

    async def ask() -> None:
        for _ in range(2):
            with pytest.raises(DamagedError, match="the source has gone"):
                await previews.chunk(RUN, CHUNK)

    in_a_loop(previews, ask)
    assert names == [CHUNK, CHUNK]


def test_processes_that_were_killed_are_replaced(computed: Callable[..., list[str]], threads: list[ThreadPoolExecutor]) -> None:
    broken = [True]

    def answer(name: str) -> bytes:
        if broken and broken.pop():
            raise BrokenProcessPool("killed")
        return b"chunk"

    computed(answer)
    previews = Previews()

    async def ask() -> bytes | None:
        with pytest.raises(TimeoutError):
            await previews.chunk(RUN, CHUNK)
        return await previews.chunk(RUN, CHUNK)

    assert in_a_loop(previews, ask) == b"chunk"
    assert len(threads) == 2


def test_only_so_much_is_kept(computed: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computing, "_KEPT_BYTES", 25)
    names = computed(lambda name: bytes(10))
    previews = Previews()

    async def ask() -> None:
        for name in ("a", "b", "a", "c", "a", "b"):
            await previews.chunk(RUN, name)

    in_a_loop(previews, ask)
    assert names == ["a", "b", "c", "b"]


def test_only_so_many_wait_at_once(computed: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computing, "_MOST_PENDING", 3)
    go_on = threading.Event()
    computed(lambda name: b"" if go_on.wait(30) else None)
    previews = Previews(patience=0.05)

    async def ask() -> list[object]:
        asked = await asyncio.gather(*(previews.chunk(RUN, str(n)) for n in range(9)), return_exceptions=True)
        go_on.set()
        return [str(error) for error in asked]

    assert in_a_loop(previews, ask).count("many others are waiting") == 6


def test_processes_end_when_there_is_nothing_to_do(
    computed: Callable[..., list[str]], threads: list[ThreadPoolExecutor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(computing, "_IDLE_SECONDS", 0.05)
    computed(lambda name: b"chunk")
    previews = Previews()

    async def ask() -> None:
        for name in ("a", "b"):
            await previews.chunk(RUN, name)
            await asyncio.sleep(0.1)

    in_a_loop(previews, ask)
    assert len(threads) == 2


def test_what_is_asked_for_anew_after_a_while_has_all_its_time_again(
    computed: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(name: str) -> bytes:
        raise NotReadyError("not yet")

    computed(answer)
    monkeypatch.setattr(computing, "_FORGOTTEN_SECONDS", 0.05)
    previews = Previews(longest=0.08)

    async def ask() -> None:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await previews.chunk(RUN, CHUNK)
            await asyncio.sleep(0.1)

    in_a_loop(previews, ask)
