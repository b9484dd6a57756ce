"""Which paths a job may be told: inputs below the configured folders, outputs below the served one, links followed.

This is for a sentence in time. What a job really opens the kernel holds to the same folders (app/jobs/confinement.py).
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.commands.flags import Argument, Form
from app.settings import JobSettings
from converters.errors import ConverterError
from converters.record import PRIVATE
from converters.sources.opening import is_url

UPLOADS = f"{PRIVATE}/uploads"
"""Where uploads lie below the served folder."""
JOBS = f"{PRIVATE}/jobs"
"""Where the server keeps its jobs there."""

_OUTPUTS = frozenset({("mesh", "export"), ("skeletonize", "swc"), ("label", "table"), ("trace", "image"), ("trace", "results")})
"""Options that name a file or folder to write."""
_INPUTS = frozenset({"table", "affine", "targets_before", "targets_after"})
"""Options that name a file to read, where they do not name one to write."""
_NO_PATHS = frozenset({"array", "scale", "executor", "memory", "axes", "threshold", "segments"})
"""Options that take a text and never a path."""
_NUMBERS = re.compile(r"[\s\d.,;+\-eE\[\]()]*")
"""What stands in the place of a file of numbers."""


class PlaceError(ConverterError):
    """A path that this server does not read or write."""


@dataclass(frozen=True)
class Places:
    """Folders without links. root: the served one. inputs: what may be read besides it."""

    root: Path
    inputs: tuple[Path, ...]
    settings: JobSettings

    def check(self, command: str, form: Form, given: Mapping[str, Any]) -> None:
        """Raise PlaceError unless all paths among a command's arguments and options are such as a job may use."""
        for argument in form.arguments:
            texts = _texts(argument, given)
            for number, text in enumerate(texts, 1):
                is_dataset = argument.name == "dataset" or (argument.many and number == len(texts))
                self._check_output(text) if is_dataset else self._check_input(text)
        for option in form.options:
            value = given.get(option.name)
            if not isinstance(value, str) or option.name in _NO_PATHS or not _takes_any_text(option.field):
                continue
            if (command, option.name) in _OUTPUTS:
                self._check_output(value)
            elif option.name != "affine" or not _NUMBERS.fullmatch(value):
                self._check_input(value)  # what is not known to be anything else
        self._check_executor(given.get("executor"))

    def dataset(self, form: Form, given: Mapping[str, Any]) -> str | None:
        """Return the name of the dataset that a job writes: its path below the root."""
        for argument in form.arguments:
            if argument.many or argument.name == "dataset":
                texts = _texts(argument, given)
                return self.name(texts[-1]) if texts else None
        return None

    def name(self, text: str) -> str:
        """Return the path below the root of an output that was checked."""
        return self._full(text).relative_to(self.root).as_posix()

    def _check_input(self, text: str) -> None:
        if is_url(text):
            if not self.settings.remote:
                raise PlaceError(f"{text}: this server reads no URLs; it does with GLASSINE_REMOTE=1")
            return
        full = self._full(text)
        if not any(full.is_relative_to(folder) for folder in (self.root, *self.inputs)):
            raise PlaceError(
                f"{text}: lies outside of the folders that this server reads; list its folder in GLASSINE_INPUTS if it should"
            )
        if PRIVATE in full.parts[len(self.root.parts) :] and not full.is_relative_to(self.root / UPLOADS):
            raise PlaceError(f"{text}: what lies in a folder {PRIVATE} is no source")

    def _check_output(self, text: str) -> None:
        full = self._full(text)
        if is_url(text) or full == self.root or not full.is_relative_to(self.root):
            raise PlaceError(f"{text}: expected a path below the served folder, such as a dataset's name")
        if any(part.startswith(".") for part in full.relative_to(self.root).parts):
            raise PlaceError(f"{text}: no part of the path may begin with a dot, such folders are never served")

    def _check_executor(self, executor: Any) -> None:
        if isinstance(executor, str) and "://" in executor and executor not in self.settings.schedulers:
            raise PlaceError(f"--executor {executor}: this server hands work to no cluster but those in GLASSINE_SCHEDULERS")

    def _full(self, text: str) -> Path:
        """Return a path from the root on, links followed."""
        return Path(os.path.realpath(self.root / text))


def places_of(root: Path, settings: JobSettings) -> Places:
    """Return the folders of a server."""
    return Places(root.resolve(), tuple(folder.resolve() for folder in settings.inputs), settings)


def _texts(argument: Argument, given: Mapping[str, Any]) -> list[str]:
    value = given.get(argument.name, [])
    return list(value) if argument.many else [value]


def _takes_any_text(field: Any) -> bool:
    """Tell whether an option takes text that may be a path."""
    kinds = (field.annotation, *getattr(field.annotation, "__args__", ()))
    return (str in kinds or Path in kinds) and not any(getattr(part, "pattern", None) for part in field.metadata)
