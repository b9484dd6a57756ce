"""A test whose program is missing is skipped by name and reason; in continuous integration it fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROBE = """
def test_probe(chromium, nginx):
    pass
"""


def outcome(folder: Path, environment: dict[str, str]) -> str:
    (folder / "conftest.py").write_text((Path(__file__).parents[1] / "conftest.py").read_text())
    (folder / "test_probe.py").write_text(PROBE)
    words = [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", "--rootdir", folder, folder]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize(("ci", "word"), [("", "SKIPPED"), ("true", "ERROR")])
def test_without_chromium(tmp_path: Path, ci: str, word: str):
    environment = {**os.environ, "PATH": str(tmp_path), "CI": ci}
    said = outcome(tmp_path, environment)
    assert word in said
    assert "the test in the real viewer needs chromium, which is not installed (Debian: apt install chromium)" in said.replace(
        "\n", " "
    )
