"""Wrong files of every kind: each is read or refused by one of our own errors, in little memory and time, and nothing crashes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.security.amount import cases
from tests.security.fuzzing import fuzz

MODULES = {"tests.security.decoders": (60, 20_000), "tests.security.sources": (8, 3_000)}
"""With the cases of each target, few and many."""


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("module", MODULES)
def test_wrong_files_are_read_or_refused(module: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    found = fuzz(module, cases(*MODULES[module]), tmp_path)
    record_property("found", str(found))
    assert found.faults == ()
    assert found.refused > found.cases // 3


def test_a_process_that_dies_is_told_with_its_case(tmp_path: Path) -> None:
    found = fuzz("tests.security.dying", 5, tmp_path)
    assert len(found.faults) == 2
    assert found.faults[0].startswith("refuses otherwise, case 0, 4 bytes: KeyError at ")
    assert "'reading': 'dies', 'case': 3" in found.faults[1]
