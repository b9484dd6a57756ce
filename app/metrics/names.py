"""Which datasets and scales may be labels: the first so many that were asked for, the same ones in all server processes."""

import json
from pathlib import Path

from app.jobs.locks import locked

MOST = 400
"""Pairs of a dataset's name and a scale's key. Each is a few series; the metrics of a server stay below a few thousand."""


class Names:
    """The pairs that may be labels; use it in one thread. file: shared with other processes, None where there are none."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known: set[tuple[str, str]] = set()

    def admit(self, dataset: str, scale: str) -> bool:
        """Tell whether a pair may be a label. Once there are enough, only those from before are."""
        pair = (dataset, scale)
        if pair not in self._known and len(self._known) < MOST:
            try:
                self._add_shared(pair)
            except OSError:  # the folder is full or gone: this process decides for itself
                self._known.add(pair)
        return pair in self._known

    def _add_shared(self, pair: tuple[str, str]) -> None:
        if self._file is None:
            self._known.add(pair)
            return
        with locked(self._file.with_suffix(".adding")), open(self._file, "a+b") as file:
            file.seek(0)
            self._known |= {tuple(json.loads(line)) for line in file}
            if pair not in self._known and len(self._known) < MOST:
                file.write(json.dumps(pair).encode() + b"\n")
                self._known.add(pair)
