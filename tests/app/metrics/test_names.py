"""How many datasets and scales may be labels, and that all processes have the same ones."""

from pathlib import Path

import pytest

from app.metrics.names import MOST, Names


@pytest.fixture(params=["alone", "shared"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return None if request.param == "alone" else tmp_path / "names.jsonl"


def test_the_first_ones_may_be_labels_and_stay_so(file: Path | None) -> None:
    names = Names(file)
    asked = [(f"dataset {n}", "8_8_8") for n in range(MOST + 50)]
    assert [names.admit(*pair) for pair in asked] == [True] * MOST + [False] * 50
    assert [names.admit(*pair) for pair in asked] == [True] * MOST + [False] * 50


def test_processes_have_the_same_ones(tmp_path: Path) -> None:
    first, second = Names(tmp_path / "names.jsonl"), Names(tmp_path / "names.jsonl")
    for number in range(MOST):
        assert (first, second)[number % 2].admit(f"dataset {number}", "with \n and ü")
    later = Names(tmp_path / "names.jsonl")
    for names in (first, second, later):
        assert not names.admit("one too many", "8_8_8")
        assert all(names.admit(f"dataset {number}", "with \n and ü") for number in range(MOST))


def test_without_the_shared_folder_a_process_decides_for_itself(tmp_path: Path) -> None:
    names = Names(tmp_path / "gone" / "names.jsonl")
    assert [names.admit(f"dataset {n}", "8_8_8") for n in range(MOST + 1)] == [True] * MOST + [False]
