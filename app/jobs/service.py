"""All of jobs that one server process has: where they lie, the queue, and what the routes ask."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from app.datasets import read_dataset
from app.jobs.catalogue import job_command
from app.jobs.events import Events
from app.jobs.job import Job, State
from app.jobs.places import JOBS, Places, places_of
from app.jobs.process import Run, check_confinement, start
from app.jobs.queue import Process, Queue
from app.jobs.store import Store
from app.jobs.uploads import Uploads
from app.links import Layer, viewer_link
from app.settings import JobSettings
from converters.errors import ConverterError

_LOG_END = 4_000
"""Characters."""


@dataclass(frozen=True)
class Service:
    """The jobs and uploads of a served folder."""

    places: Places
    folder: Path
    store: Store
    queue: Queue
    uploads: Uploads
    events: Events

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
        """Return a job that is done with the link that opens its dataset, where there is something to open."""
        if job.state != State.DONE or job.dataset is None:
            return job
        folder = self.places.root / job.dataset
        try:
            version = (folder / "info").stat().st_mtime_ns
        except OSError:
            return job
        return job.model_copy(update={"link": _link(folder, job.dataset, base_url, version)})


@lru_cache(maxsize=4096)
def _link(folder: Path, name: str, base_url: str, version: int) -> str | None:
    """Return the link that opens a dataset, None where the viewer cannot. version: another one when the dataset is."""
    try:
        found = read_dataset(folder, name)
    except ConverterError:
        return None
    return viewer_link([Layer(found.name, found.info, found.record, found.selected)], base_url)


def open_service(root: Path, settings: JobSettings) -> Service:
    """Return the jobs and uploads of a served folder; nothing is made in it before there is one."""
    places = places_of(root, settings)
    folder = places.root / JOBS

    def start_process(job: Job, lock: int) -> Process:
        return start(Run(job.command, job.options, folder / "scratch" / str(job.id), folder / f"{job.id}.log", lock), places)

    store = Store(folder)
    queue = Queue(folder, store, start_process, settings.at_once)
    return Service(places, folder, store, queue, Uploads(places.root, settings.upload_limit), Events())
