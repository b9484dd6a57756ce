"""Counting how jobs end."""

from bisect import bisect_left
from threading import Lock

from app.jobs.job import ENDED, Job
from app.metrics.figures import Figures, add

JOB_BOUNDS = (1.0, 3.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
"""Seconds."""


class JobCounts:
    """The jobs that ended while this process had the queue, or were cancelled through it; any thread may note them."""

    def __init__(self) -> None:
        self._figures: Figures = {}
        self._one_at_a_time = Lock()

    def note(self, job: Job) -> None:
        """Count a job whose state has changed, where it has ended now."""
        if job.state not in ENDED or job.removed:
            return
        labels = (job.command, str(job.state))
        with self._one_at_a_time:
            add(self._figures, ("jobs_ended", *labels), 1)
            if job.seconds is not None:
                add(self._figures, ("job_duration_sum", *labels), job.seconds)
                add(self._figures, ("job_duration", *labels, str(bisect_left(JOB_BOUNDS, job.seconds))), 1)

    def figures(self) -> Figures:
        """Return what was counted."""
        with self._one_at_a_time:
            return dict(self._figures)
