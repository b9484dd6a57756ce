"""What of a conversion has been done: one line a block, so that the same command goes on after a stop.

A line is written when a block's files are there; a line that a kill cut short does not count, and its block is done again.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.storage.files import raise_if_full

Item = tuple[int, ...]
"""Which block of a step: its position."""

Members = dict[str, Any]


@dataclass
class Journal:
    """The journal of one conversion.

    done: step -> block -> what it gave. begun: the blocks that a run before this one had begun and not finished.
    """

    path: Path
    done: dict[str, dict[Item, Members]] = field(default_factory=dict)
    begun: set[tuple[str, Item]] = field(default_factory=set)

    def begin(self, step: str, item: Item) -> None:
        """Say that a block's work begins. Raises DiskFullError."""
        self._append({"step": step, "item": item})

    def add(self, step: str, item: Item, gave: Members) -> None:
        """Say that a block is done, and what it gave (JSON-able). Raises DiskFullError."""
        self._append({"step": step, "item": item, "gave": gave})
        self.done.setdefault(step, {})[item] = gave

    def _append(self, line: Members) -> None:
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        try:
            with open(self.path, "ab", buffering=0) as file:
                file.write(data)
        except OSError as error:
            raise_if_full(error, self.path)
            raise


def open_journal(path: Path) -> Journal:
    """Return the journal that is there, or an empty one; a last line that was cut short is removed."""
    journal = Journal(path)
    for line in _whole_lines(path):
        step, item, gave = line["step"], tuple(line["item"]), line.get("gave")
        if gave is None:
            journal.begun.add((step, item))
        else:
            journal.begun.discard((step, item))
            journal.done.setdefault(step, {})[item] = gave
    return journal


def _whole_lines(path: Path) -> list[Members]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    end = data.rfind(b"\n") + 1
    if end < len(data):
        os.truncate(path, end)
    return [json.loads(line) for line in data[:end].splitlines()]
