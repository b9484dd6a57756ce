"""Figures in the formats of Prometheus and OpenMetrics."""

import platform
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, cast

from app.metrics import table
from app.metrics.figures import Figures
from app.metrics.shared import Sum
from app.metrics.table import Told

if TYPE_CHECKING:
    from prometheus_client import Metric
    from prometheus_client.registry import Collector

JobsNow = Mapping[tuple[str, ...], int]
"""How many jobs there are of a command and state."""

_WAITING_STATES = ("queued", "interrupted")


def exposition(counted: Sum, jobs: JobsNow | None, accept: str) -> tuple[bytes, str]:
    """Return the page of all metrics and its type, in the format that a header Accept asks for. jobs: None where not known."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
    from prometheus_client.openmetrics import exposition as openmetrics

    registry = CollectorRegistry()
    registry.register(cast("Collector", _Collected([*_metrics(counted), *_job_metrics(jobs)])))
    # The library's own choice fails on versions that are no numbers.
    if "application/openmetrics-text" in accept.lower():
        encode: Callable[[CollectorRegistry], bytes] = openmetrics.generate_latest
        return encode(registry), openmetrics.CONTENT_TYPE_LATEST
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


class _Collected:
    """Metrics as a registry takes them."""

    def __init__(self, metrics: Sequence["Metric"]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable["Metric"]:
        return self._metrics


def _metrics(counted: Sum) -> Iterator["Metric"]:
    for told in table.COUNTERS:
        yield _counter(told, _series(counted.figures, told.key))
    for told, bounds in table.HISTOGRAMS:
        yield _histogram(told, bounds, counted.figures)
    for told in table.SUMS:
        values = [gauges[told.key] for gauges in counted.processes if told.key in gauges]
        yield _gauge(told, {(): sum(values)} if values else {})
    # One that has just begun has told nothing yet.
    begun = [gauges["started"] for gauges in counted.processes if "started" in gauges]
    yield _gauge(table.STARTED, {(): min(begun)} if begun else {})
    yield _gauge(table.PROCESSES, {(): len(counted.processes)})
    yield _counter(table.ENDED_PROCESSES, {(): counted.ended})
    yield _gauge(table.BUILD, {(version("glassine"), platform.python_version()): 1})


def _job_metrics(jobs: JobsNow | None) -> Iterator["Metric"]:
    if jobs is not None:
        yield _gauge(table.JOBS, jobs)
        yield _gauge(table.WAITING_JOBS, {(): sum(count for (_, state), count in jobs.items() if state in _WAITING_STATES)})


def _series(figures: Figures, key: str) -> dict[tuple[str, ...], float]:
    return {labels: value for (first, *rest), value in figures.items() if first == key for labels in [tuple(rest)]}


def _counter(told: Told, series: Mapping[tuple[str, ...], float]) -> "Metric":
    from prometheus_client.core import CounterMetricFamily

    metric = CounterMetricFamily(told.name, told.help, labels=told.labels)
    for labels, value in sorted(series.items()):
        metric.add_metric(labels, value)
    return metric


def _gauge(told: Told, series: Mapping[tuple[str, ...], float]) -> "Metric":
    from prometheus_client.core import GaugeMetricFamily

    metric = GaugeMetricFamily(told.name, told.help, labels=told.labels)
    for labels, value in sorted(series.items()):
        metric.add_metric(labels, value)
    return metric


def _histogram(told: Told, bounds: Sequence[float], figures: Figures) -> "Metric":
    from prometheus_client.core import HistogramMetricFamily

    buckets: dict[tuple[str, ...], list[float]] = defaultdict(lambda: [0] * (len(bounds) + 1))
    for labels, value in _series(figures, told.key).items():
        buckets[labels[:-1]][int(labels[-1])] += value
    sums = _series(figures, f"{told.key}_sum")
    metric = HistogramMetricFamily(told.name, told.help, labels=told.labels)
    for labels, counts in sorted(buckets.items()):
        metric.add_metric(labels, _cumulative(bounds, counts), sums.get(labels, 0))
    return metric


def _cumulative(bounds: Sequence[float], counts: Sequence[float]) -> list[tuple[str, float]]:
    """Return each bucket's bound, as text, and how many are at most it."""
    told, reached = [], 0.0
    for bound, count in zip([*map(str, bounds), "+Inf"], counts, strict=True):
        reached += count
        told.append((bound, reached))
    return told
