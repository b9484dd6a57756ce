"""What is told of each segment's skeleton as numbers that the viewer lists, sorts and filters segments by."""

from collections.abc import Sequence
from typing import Protocol

from formats.segment_properties import SegmentProperties, number_property


class Counted(Protocol):
    """What is counted of one segment's skeleton. cable_length: nm."""

    @property
    def segment(self) -> int: ...
    @property
    def cable_length(self) -> float: ...
    @property
    def branch_points(self) -> int: ...
    @property
    def end_points(self) -> int: ...


def skeleton_numbers(counted: Sequence[Counted]) -> SegmentProperties:
    """Return the numbers of segments, those without a skeleton included: theirs are 0."""
    ordered = sorted(counted, key=lambda one: one.segment)
    return SegmentProperties(
        tuple(one.segment for one in ordered),
        (
            number_property("cable_length", "float32", [one.cable_length for one in ordered], "length of all lines, nm"),
            number_property(
                "branch_points", "uint32", [one.branch_points for one in ordered], "vertices with three lines or more"
            ),
            number_property("end_points", "uint32", [one.end_points for one in ordered], "vertices with one line"),
        ),
    )
