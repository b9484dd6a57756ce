"""Figures that only grow, by the metric and its labels, and how those of several processes are put together."""

from collections.abc import Iterable
from typing import Any

Figures = dict[tuple[str, ...], float]
"""The key of a metric (app/metrics/table.py), the values of its labels and, for a histogram, the number of a bucket."""


def add(figures: Figures, key: tuple[str, ...], value: float) -> None:
    """Add to one figure."""
    figures[key] = figures.get(key, 0) + value


def total(parts: Iterable[Figures]) -> Figures:
    """Return the sums of the figures of several processes."""
    sums: Figures = {}
    for part in parts:
        for key, value in part.items():
            add(sums, key, value)
    return sums


def to_members(figures: Figures) -> list[list[Any]]:
    """Return figures as JSON can hold them."""
    return [[*key, value] for key, value in figures.items()]


def from_members(members: list[list[Any]]) -> Figures:
    """Return the figures that to_members gave."""
    return {tuple(key): value for *key, value in members}
