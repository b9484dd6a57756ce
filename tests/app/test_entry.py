"""What every process of glassine does, the command and its workers."""

import os
import subprocess
import sys
from pathlib import Path


def test_a_process_ends_without_looking_for_garbage_in_what_it_imported() -> None:
    # Handlers run in the reverse order of their registration.
    program = "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count())); import app.entry"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(ended.stdout) > 1000


def test_code_is_kept_where_the_environment_says(tmp_path: Path) -> None:
    program = "import atexit, app.entry, converters.native as n; atexit.register(lambda: print(n.kept_in())); app.entry.main()"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-c", program, "--version"], capture_output=True, text=True, env=environment, check=True
    )
    assert ended.stdout.splitlines()[-1] == str(tmp_path)
