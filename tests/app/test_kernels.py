"""Where machine code is kept, by the command and by the process of a job."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.jobs.child import Work

COMMAND = "import atexit, app.entry, converters.native as n; atexit.register(lambda: print(n.kept_in())); app.entry.main()"
JOB = "import app.jobs.child as child, converters.native as n; child._do = lambda *of: print(n.kept_in()) or 0; child.main()"


@pytest.mark.parametrize("program", [COMMAND, JOB])
def test_code_is_kept_where_the_environment_says(program: str, tmp_path: Path) -> None:
    told, _ = pipe = os.pipe()
    work = Work("convert", {}, planned=False, read=(), write=(), network=False, unconfined=True, pipe=pipe[1]).encode()
    with subprocess.Popen(
        [sys.executable, "-c", program, "--version"],
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=(pipe[1],),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(work)
        process.stdin.flush()
        assert process.stdout.read().decode().splitlines()[-1] == str(tmp_path)
    os.close(told)
    os.close(pipe[1])
