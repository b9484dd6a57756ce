"""What every process of glassine does, the command and its workers."""

import subprocess
import sys


def test_a_process_ends_without_looking_for_garbage_in_what_it_imported() -> None:
    # Handlers run in the reverse order of their registration.
    program = "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count())); import app.entry"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(ended.stdout) > 1000
