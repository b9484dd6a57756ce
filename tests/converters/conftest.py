"""What tests of conversions share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from converters import native


@pytest.fixture
def nothing_is_kept(tmp_path: Path) -> Iterator[None]:
    """Let no machine code be there but what this process has loaded already."""
    before = native.kept_in()
    native.keep_in(tmp_path)
    yield
    native.keep_in(before)
