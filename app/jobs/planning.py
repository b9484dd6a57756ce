"""What a job would do, found out in a confined process: it opens the source."""

import tempfile
import threading
import time
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from app.jobs.catalogue import PLANNED, job_command
from app.jobs.places import Places
from app.jobs.process import JobProcess, Run, start
from converters.errors import ConverterError, OptionError

_SECONDS = 60
_AT_ONCE = 2
_TURN_SECONDS = 20
"""How long a request may wait for its turn, in a thread that others could use."""
_NEW = "planned"
"""The dataset of a plan that names none."""
_turns = threading.BoundedSemaphore(_AT_ONCE)


class PlanResult(BaseModel):
    """What a command would do: for a program, and as text."""

    plan: dict[str, Any]
    text: str


class NoPlanError(ConverterError):
    """The plan was not made; it may be another time."""


def make_plan(command: str, options: dict[str, Any], places: Places) -> PlanResult:
    """Return what a command would do with these options. Raises OptionError, PlaceError, NoPlanError, UnconfinedError.

    What the source or an option makes impossible is an OptionError.
    """
    if command not in PLANNED:
        raise OptionError(f"there are only plans of {', '.join(PLANNED)}, and none of {command!r}")
    form = job_command(command).form
    given = {"dataset": _NEW, **options} if "source" in options else options
    form.read(given)
    places.check(command, form, given)
    if given.get("export") is not None:
        raise NoPlanError("what is exported is there already; there is nothing to plan")
    if not _turns.acquire(timeout=_TURN_SECONDS):
        raise NoPlanError("other plans are being made; ask again")
    try:
        with tempfile.TemporaryDirectory(prefix="glassine-plan-") as folder:
            return _told(start(Run(command, given, Path(folder), Path(folder, "log"), planned=True), places))
    finally:
        _turns.release()


def _told(process: JobProcess) -> PlanResult:
    try:
        told = _listen(process)
    finally:
        process.kill()
        status = process.close()
    if "error" in told:
        raise OptionError(told["error"])
    if "plan" not in told:
        raise NoPlanError(f"no plan was made within {_SECONDS} s" if status < 0 else f"no plan was made, exit status {status}")
    return PlanResult(plan=told["plan"], text=told["summary"])


def _listen(process: JobProcess) -> dict[str, Any]:
    told: dict[str, Any] = {}
    end = time.monotonic() + _SECONDS
    while process.has_more and not told and time.monotonic() < end:
        wait([process.fileno()], end - time.monotonic())
        for members in process.told():
            told.update(members)
    return told
