"""The figures of several processes: added up, and kept when a process has died."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.metrics import shared
from app.metrics.figures import Figures, from_members, to_members, total
from app.metrics.shared import Shared, Snapshot, shared_folder

KEY = ("requests", "chunk", "read", "2xx")
NOTHING = Snapshot()


def counted(number: int) -> Snapshot:
    return Snapshot({KEY: number, ("cpu",): 0.5}, {"memory": 10})


@settings(max_examples=40)
@given(st.lists(st.dictionaries(st.lists(st.text(), max_size=3).map(tuple), st.integers(0, 1 << 60))))
def test_sums_of_figures_survive_being_written(parts: list[Figures]) -> None:
    written = [from_members(json.loads(json.dumps(to_members(part)))) for part in parts]
    assert written == parts
    expected: Figures = {}
    for part in parts:
        for key, value in part.items():
            expected[key] = expected.get(key, 0) + value
    assert total(written) == expected


def test_processes_are_added_up(tmp_path: Path) -> None:
    first, second = Shared(tmp_path), Shared(tmp_path)
    first.write(counted(1))
    second.write(counted(2))
    for one, own in ((first, counted(1)), (second, counted(2))):
        found = one.sum(own)
        assert found.figures == {KEY: 3, ("cpu",): 1.0}
        assert (found.processes, found.ended) == (({"memory": 10}, {"memory": 10}), 0)
    first.close()
    second.close()


def test_what_a_process_counted_outlives_it(tmp_path: Path) -> None:
    living = Shared(tmp_path)
    living.write(counted(1))
    for number in range(1, 4):
        dying = Shared(tmp_path)
        dying.write(counted(10))
        dying.close()
        for _ in range(2):
            found = living.sum(counted(1))
            assert found.figures == {KEY: 1 + 10 * number, ("cpu",): 0.5 * (1 + number)}
            assert (found.processes, found.ended) == (({"memory": 10},), number)
    assert len(list(tmp_path.iterdir())) == 4  # its own two, those that have ended, and the lock of who adds up
    living.close()


def test_whoever_is_killed_while_adding_up_counts_nothing_twice(tmp_path: Path) -> None:
    dying = Shared(tmp_path)
    dying.write(counted(10))
    dying.close()
    left = {path: path.read_bytes() for path in tmp_path.iterdir()}
    Shared(tmp_path).sum(NOTHING)
    for path, content in left.items():  # the sum was written, and then the process was killed
        path.write_bytes(content)
    for _ in range(2):
        found = Shared(tmp_path).sum(NOTHING)
        assert (found.figures[KEY], found.ended) == (10, 1)


def test_a_process_that_has_written_nothing_yet_counts_nothing(tmp_path: Path) -> None:
    begun = Shared(tmp_path)
    begun.write(counted(1))
    next(tmp_path.glob("*.json")).unlink()
    assert Shared(tmp_path).sum(NOTHING).figures == {}
    begun.close()


def test_a_folder_that_is_full_or_gone_is_told(tmp_path: Path) -> None:
    gone = Shared(tmp_path / "gone")
    with pytest.raises(OSError, match="No such file"):
        gone.write(NOTHING)
    with pytest.raises(OSError, match="No such file"):
        gone.sum(NOTHING)


def test_the_shared_folder_is_there_for_several_processes_and_then_gone() -> None:
    with shared_folder(1) as nothing:
        assert nothing is None
    with shared_folder(2) as folder:
        assert folder is not None
        assert folder.stat().st_mode & 0o077 == 0
        (folder / "left").write_text("")
    assert not folder.exists()


def test_without_room_for_it_the_server_starts_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(**options: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(shared, "TemporaryDirectory", refuse)
    with shared_folder(2) as folder:
        assert folder is None
    assert "/metrics tells of one server process alone" in caplog.text
