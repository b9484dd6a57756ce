"""What is counted of a skeleton."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Counts:
    """cable_length: nm."""

    segment: int
    cable_length: float
    branch_points: int
    end_points: int
