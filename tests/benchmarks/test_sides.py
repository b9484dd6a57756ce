"""The table of a comparison."""

from benchmarks.measure import Measurement
from benchmarks.sides import Side, summary


def test_summary_has_medians_and_ratios_to_the_first_side() -> None:
    ours = Side("glassine", (), [Measurement(s, 2 * s, 100 << 20) for s in (2.0, 1.0, 4.0)], [1_000_000, 500_000])
    peer = Side("peer", (), [Measurement(s, s, 300 << 20) for s in (5.0, 3.0, 9.0)], [2_000_000, 1_000_000])
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in summary([ours, peer]).splitlines()]
    assert cells[2] == ["glassine", "2.00", "1.00-4.00", "1.00", "4.00", "100", "1.5", "1.000", "1.0 + 0.5"]
    assert cells[3] == ["peer", "5.00", "3.00-9.00", "2.50", "5.00", "300", "3.0", "2.000", "2.0 + 1.0"]
