"""The virtual environment of the peers: igneous-pipeline wants an older DracoPy than glassine, so the two cannot share one."""

import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def make_environment(directory: Path) -> Path:
    """Make the environment in directory, unless it is there, and return its python."""
    python, made_from = directory / "bin" / "python", directory / "made-from.txt"
    if made_from.exists() and made_from.read_bytes() == REQUIREMENTS.read_bytes():
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", directory], check=True)
    subprocess.run([python, "-m", "pip", "install", "-qq", "-r", REQUIREMENTS], check=True)
    made_from.write_bytes(REQUIREMENTS.read_bytes())
    return python


def versions(python: Path) -> str:
    """Return the peers' names and versions, as `name 1.2, name 3.4`."""
    names = [line.partition(">=")[0] for line in REQUIREMENTS.read_text().split()]
    program = "import sys; from importlib.metadata import version; print(*(f'{n} {version(n)}' for n in sys.argv[1:]), sep=', ')"
    return subprocess.run([python, "-c", program, *names], check=True, capture_output=True, text=True).stdout.strip()
