"""All of jobs that one server process has: where they lie, the queue, and what the routes ask."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from app.jobs.catalogue import job_command
from app.jobs.events import Events
from app.jobs.job import Job, State
from app.jobs.places import JOBS, Places, places_of
from app.jobs.process import Run, check_confinement, start
from app.jobs.queue import Process, Queue
from app.jobs.store import Store
from app.jobs.uploads import Uploads
from app.links import viewer_link
from app.settings import JobSettings
from converters.errors import ConverterError
from formats.errors import FormatError

_LOG_END = 4_000
"""Characters."""
_SEEN_BELOW = {"trace": "image"}
"""Command -> its option that names a dataset which is looked at below the one that it makes."""

Grant = Callable[[str], str]
"""Gives what stands in front of a dataset's name in a link, so that the viewer may read it."""
_Version = tuple[int, int]
"""Times at which a dataset's info and folder were changed: others when the dataset is another one."""


@dataclass(frozen=True)
class Service:
    """The jobs and uploads of a served folder. grant: for the links of jobs."""

    places: Places
    folder: Path
    store: Store
    queue: Queue
    uploads: Uploads
    events: Events
    grant: Grant

    def close(self) -> None:
        """End what runs and let another process have the queue."""
        self.queue.close()
        self.store.close()

    def add(self, command: str, options: Mapping[str, Any]) -> Job:
        """Queue a job. Raises OptionError for a command or option that is refused, PlaceError, UnconfinedError, OSError."""
        form = job_command(command).form
        form.read(options)
        self.places.check(command, form, options)
        check_confinement(self.places)
        job = self.store.add(command, dict(options), self.places.dataset(form, options))
        self.queue.wake()
        return job

    def delete(self, number: int) -> Job:
        """Cancel a job that waits or runs, or take an ended one from the list. Raises NoSuchJobError, WrongStateError."""
        if self.store.get(number).is_ended:
            job = self.store.remove(number)
            for path in (self.log(number), self.folder / f"{number}.lock"):
                path.unlink(missing_ok=True)
            return job
        job = self.store.cancel(number)
        self.queue.wake()
        return job

    def retry(self, number: int) -> Job:
        """Queue a failed or cancelled job again. Raises NoSuchJobError, WrongStateError."""
        job = self.store.retry(number)
        self.queue.wake()
        return job

    def log(self, number: int) -> Path:
        """Return the file that a job prints to."""
        return self.folder / f"{number}.log"

    def log_end(self, number: int) -> str:
        """Return the last of what a job has printed."""
        try:
            with self.log(number).open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - 4 * _LOG_END))
                return file.read().decode("utf-8", "replace")[-_LOG_END:]
        except FileNotFoundError:
            return ""

    def linked(self, job: Job, base_url: str) -> Job:
        """Return a job that is done with the link that opens what it made, where there is something to open."""
        if job.state != State.DONE or job.dataset is None:
            return job
        names = [job.dataset]
        below = job.options.get(_SEEN_BELOW.get(job.command, ""))
        if isinstance(below, str):
            names.append(self.places.name(below))
        versions = {name: version for name in names if (version := _version(self.places.root / name)) is not None}
        if job.dataset not in versions:
            return job
        shown = tuple((name, self.grant(name), version) for name, version in versions.items())
        return job.model_copy(update={"link": _link(self.places.root, shown, base_url)})


def _version(folder: Path) -> _Version | None:
    try:
        return (folder / "info").stat().st_mtime_ns, folder.stat().st_mtime_ns
    except OSError:
        return None


@lru_cache(maxsize=4096)
def _link(root: Path, datasets: tuple[tuple[str, str, _Version], ...], base_url: str) -> str | None:
    """Return the link that opens datasets together (names, grants), None where the viewer cannot open any."""
    from app.models import read_layer  # which imports the decoders of meshes: a server starts without

    layers = []
    for name, grant, _ in datasets:
        with suppress(ConverterError, FormatError, OSError):
            layers.append(replace(read_layer(root / name, name), grant=grant))
    return viewer_link(layers, base_url) if layers else None


def open_service(root: Path, settings: JobSettings, grant: Grant) -> Service:
    """Return the jobs and uploads of a served folder; nothing is made in it before there is one."""
    places = places_of(root, settings)
    folder = places.root / JOBS

    def start_process(job: Job, lock: int) -> Process:
        return start(Run(job.command, job.options, folder / "scratch" / str(job.id), folder / f"{job.id}.log", lock), places)

    store = Store(folder)
    queue = Queue(folder, store, start_process, settings.at_once)
    return Service(places, folder, store, queue, Uploads(places.root, settings.upload_limit), Events(), grant)
