"""What is told of each segment's skeleton as numbers that the viewer lists, sorts and filters segments by."""

from collections.abc import Sequence
from typing import Protocol

from converters.properties.merging import merged, without
from formats.segment_properties import SegmentProperties, number_property

_CABLE_LENGTH, _BRANCH_POINTS, _END_POINTS = "cable_length", "branch_points", "end_points"
_NAMES = (_CABLE_LENGTH, _BRANCH_POINTS, _END_POINTS)


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
    if not ordered:
        return SegmentProperties()
    return SegmentProperties(
        tuple(one.segment for one in ordered),
        (
            number_property(_CABLE_LENGTH, "float32", [one.cable_length for one in ordered], "length of all lines, nm"),
            number_property(
                _BRANCH_POINTS, "uint32", [one.branch_points for one in ordered], "vertices with three lines or more"
            ),
            number_property(_END_POINTS, "uint32", [one.end_points for one in ordered], "vertices with one line"),
        ),
    )


def with_skeletons(there: SegmentProperties, numbers: SegmentProperties) -> SegmentProperties:
    """Return properties with the numbers of these skeletons in the place of those of others that were there before."""
    return merged(without(there, _NAMES), numbers)
