import io

import pytest

from app.amounts import amount, duration, lengths
from app.progress import Pace, ProgressLines
from converters.volumes.conversion import Progress


class Clock:
    """A clock that is put forward by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_pace_tells_done_total_rate_and_time_left():
    clock = Clock()
    pace = Pace(clock)
    assert pace.text(Progress("convert", 0, 9_000_000, "voxels")) == "0 voxels of 9 Mvoxels"
    clock.now += 20
    told = pace.text(Progress("convert", 3_000_000, 9_000_000, "voxels"))
    assert told == "3 Mvoxels of 9 Mvoxels, 150 kvoxels/s, 40 s left"


def test_what_was_done_at_the_first_word_does_not_count_as_fast():
    clock = Clock()
    pace = Pace(clock)
    assert pace.text(Progress("convert", 500, 1000, "voxels")) == "500 voxels of 1 kvoxels"
    clock.now += 10
    assert pace.text(Progress("convert", 600, 1000, "voxels")).endswith("10 voxels/s, 40 s left")


def test_each_step_has_a_pace_of_its_own():
    clock = Clock()
    pace = Pace(clock)
    pace.text(Progress("unpack", 0, 100, "bytes"))
    clock.now += 50
    pace.text(Progress("convert", 0, 100, "voxels"))
    clock.now += 10
    assert pace.text(Progress("convert", 50, 100, "voxels")).endswith("5 voxels/s, 10 s left")


def test_without_a_terminal_there_is_a_line_now_and_then():
    clock, stream = Clock(), io.StringIO()
    lines = ProgressLines(stream, clock)
    for second in range(31):
        clock.now = 100.0 + second
        lines.show(Progress("convert", second, 60, "bytes"))
    assert [line.split(":")[0] for line in stream.getvalue().splitlines()] == ["convert"] * 3
    assert "10 B of 60 B, 1 B/s, 50 s left" in stream.getvalue()


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (0, "bytes", "0 B"), (999, "bytes", "999 B"), (1000, "bytes", "1 kB"), (12345, "bytes", "12.3 kB"),
        (999_600, "bytes", "1 MB"), (2.5e12, "bytes", "2.5 TB"), (7e15, "bytes", "7000 TB"), (1.05e6, "voxels", "1.05 Mvoxels"),
    ],
)  # fmt: skip
def test_amounts(number: float, unit: str, text: str):
    assert amount(number, unit) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (8.24, "8.2 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (60, "1 min 00 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations(seconds: float, text: str):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("nanometres", "text"),
    [((4, 4, 40), "4 x 4 x 40 nm"), ((1e6, 1e6, 1.2e6), "1 x 1 x 1.2 mm"), ((325, 325, 2000), "0.325 x 0.325 x 2 µm")],
)
def test_lengths(nanometres: tuple[float, float, float], text: str):
    assert lengths(nanometres) == text
