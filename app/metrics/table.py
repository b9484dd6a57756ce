"""Every metric there is: names, meanings and labels. docs/metrics.md tells more of each."""

from dataclasses import dataclass

from app.metrics.counts import BOUNDS
from app.metrics.jobs import JOB_BOUNDS


@dataclass(frozen=True)
class Told:
    """A metric. key: of its figures, or of the gauge of a process."""

    key: str
    name: str
    help: str
    labels: tuple[str, ...] = ()


COUNTERS = (
    Told("requests", "glassine_requests", "Requests that have ended.", ("kind", "method", "status")),
    Told("bytes", "glassine_response_bytes", "Bytes of bodies of responses.", ("kind",)),
    Told(
        "scale",
        "glassine_scale_requests",
        "Chunks and shards that were asked for.",
        ("dataset", "scale", "outcome"),
    ),
    Told("jobs_ended", "glassine_jobs_ended", "Jobs that have ended.", ("command", "state")),
    Told("cpu", "process_cpu_seconds", "Processor time of the server processes."),
)

HISTOGRAMS = (
    (Told("duration", "glassine_response_start_seconds", "Seconds until a response began.", ("kind",)), BOUNDS),
    (
        Told("job_duration", "glassine_job_seconds", "Seconds from the last start of a job to its end.", ("command", "state")),
        JOB_BOUNDS,
    ),
)

SUMS = (
    Told("memory", "process_resident_memory_bytes", "Resident memory of the server processes."),
    Told("descriptors", "process_open_fds", "Open descriptors of the server processes."),
    Told("most_descriptors", "process_max_fds", "Descriptors that the server processes may have open."),
    Told("connections", "glassine_connections", "Open connections of clients."),
    Told("in_progress", "glassine_requests_in_progress", "Requests that are being answered, event streams among them."),
)
"""Gauges of processes that are added up."""

STARTED = Told("started", "process_start_time_seconds", "When the oldest server process began, seconds since 1970.")
PROCESSES = Told("", "glassine_processes", "Server processes that live.")
ENDED_PROCESSES = Told("", "glassine_processes_ended", "Server processes that have ended before the server.")
JOBS = Told("", "glassine_jobs", "Jobs that are listed now.", ("command", "state"))
WAITING_JOBS = Told("", "glassine_jobs_waiting", "Jobs that wait to be started.")
BUILD = Told("", "glassine_build_info", "1, with the versions as labels.", ("version", "python"))
