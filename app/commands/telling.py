"""What a command that works on something tells: its progress and notes, and in the end one line, or JSON for a program."""

import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from cyclopts import Parameter

from app.progress import progress_shown
from converters.steps import Report

S = TypeVar("S")

AsJson = Annotated[
    bool, Parameter(name="--json", negative="", show_default=False, help="Print the result as JSON on standard output.")
]


@dataclass(frozen=True)
class Telling(Generic[S]):
    """How a command tells what its work gave.

    notes: what the user should know, one sentence each. members: of the JSON. text: for a person. The seconds are those that
    the work took.
    """

    notes: Callable[[S], Iterable[str]]
    members: Callable[[S, float], dict[str, Any]]
    text: Callable[[S, float], str]

    def run(self, work: Callable[[Report], S], *, as_json: bool) -> int:
        """Do the work, its progress and notes on standard error, tell what it gave, and return the exit status."""
        began = time.monotonic()
        with progress_shown() as show:
            summary = work(show)
        seconds = time.monotonic() - began
        for note in self.notes(summary):
            print(f"glassine: note: {note}", file=sys.stderr)
        told = json.dumps(self.members(summary, seconds), indent=1) if as_json else self.text(summary, seconds)
        # At once: a server that goes on in this process would keep it back.
        print(told, flush=True)
        return 0


def gone_on(kept: int, again: int) -> str:
    """Return what was kept of a run that had been stopped, and what was done again; "" where there was none."""
    return f"; went on where a run was stopped, blocks kept: {kept}, done again: {again}" if kept + again else ""
