"""How far a conversion has come, on the terminal: only for what lasts, and never on standard output."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from app.amounts import amount, duration

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from converters.steps import Progress

Clock = Callable[[], float]

_SHOWN_AFTER = 1.0
"""Seconds; what ends sooner shows nothing."""
_told: list[Callable[["Progress"], None]] = []
"""Who gets progress instead of the terminal, the last one."""
_LINES_EVERY = 10.0
"""Seconds between lines where there is no terminal to draw a bar on."""


@contextmanager
def progress_shown(stream: TextIO | None = None) -> Iterator[Callable[["Progress"], None]]:
    """Give a function that shows progress on stream (standard error): a bar on a terminal, else a line now and then."""
    out = stream or sys.stderr
    if _told:
        yield _told[-1]
        return
    if not out.isatty():
        yield ProgressLines(out).show
        return
    bar = _Bar(out)
    try:
        yield bar.show
    finally:
        bar.close()


@contextmanager
def progress_told_to(report: Callable[["Progress"], None]) -> Iterator[None]:
    """Hand all progress of this process to a function, and show none, while the context lasts."""
    _told.append(report)
    try:
        yield
    finally:
        _told.pop()


class ProgressLines:
    """Progress as lines of text."""

    def __init__(self, stream: TextIO, clock: Clock = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._pace = Pace(clock)
        self._next = clock() + _LINES_EVERY

    def show(self, progress: "Progress") -> None:
        """Write a line when the last one is long enough ago."""
        text = self._pace.text(progress)
        if self._clock() >= self._next:
            self._next = self._clock() + _LINES_EVERY
            print(f"{progress.step}: {text}", file=self._stream, flush=True)


class Pace:
    """How fast each step goes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._begun: dict[str, tuple[float, int]] = {}

    def text(self, progress: "Progress") -> str:
        """Return done of total, the rate, and the time left, such as `3.2 of 9.1 Mvoxels, 1.1 Mvoxels/s, 5 s left`."""
        now = self._clock()
        begun, already = self._begun.setdefault(progress.step, (now, progress.done))
        text = f"{amount(progress.done, progress.unit)} of {amount(progress.total, progress.unit)}"
        if now <= begun or progress.done <= already:
            return text
        rate = (progress.done - already) / (now - begun)
        left = duration((progress.total - progress.done) / rate)
        return f"{text}, {amount(rate, progress.unit)}/s, {left} left"


class _Bar:
    """Progress as a bar that is gone in the end; rich is imported when there is something to show."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._pace = Pace(time.monotonic)
        self._begun = time.monotonic()
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}

    def show(self, progress: "Progress") -> None:
        text = self._pace.text(progress)
        if self._bars is None:
            if time.monotonic() - self._begun < _SHOWN_AFTER:
                return
            self._bars = _bars(self._stream)
            self._bars.start()
        if progress.step not in self._tasks:
            self._tasks[progress.step] = self._bars.add_task(progress.step, total=progress.total, pace="")
        self._bars.update(self._tasks[progress.step], completed=progress.done, total=progress.total, pace=text)

    def close(self) -> None:
        if self._bars is not None:
            self._bars.stop()


def _bars(stream: TextIO) -> "Bars":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[pace]}"))
    return Progress(*columns, console=Console(file=stream), transient=True)
