"""Our own decoders fuzzed by the branches that an input takes: with GLASSINE_SLOW=1, where atheris is installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.security.amount import IS_SLOW

ROOT = Path(__file__).parents[2]
SECONDS = int(os.environ.get("GLASSINE_FUZZ_SECONDS", "30"))
"""For each decoder."""
TARGETS = {
    "tests.security.decoders": (
        "compressed_segmentation uint64",
        "compresso uint64",
        "jpeg grey",
        "jxl",
        "info",
        "info without shards",
        "segment properties",
        "minishard index",
        "shard",
        "multires manifest",
        "draco",
        "legacy fragment",
        "skeleton",
        "swc",
    ),
    "tests.security.sources": ("mrc", "npy, C order", "nrrd", "nifti", "mesh file a.ply", "mesh file a.vtk", "mesh file a.stl"),
}


@pytest.mark.skipif(not IS_SLOW, reason="fuzzes for minutes; GLASSINE_SLOW=1 does")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in TARGETS.items() for name in names])
def test_no_way_through_a_decoder_is_a_fault(module: str, name: str, tmp_path: Path) -> None:
    pytest.importorskip("atheris")
    command = [sys.executable, "-m", "tests.security.coverage_guided", module, name, str(SECONDS), str(tmp_path)]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(tmp_path)}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
