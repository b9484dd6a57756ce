"""README.md: every command in it runs, and its tables say what the code says."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.error import URLError

import h5py
import nibabel
import nrrd
import numpy as np
import pytest
import tensorstore
import tifffile
import trimesh

import app.cli
from app.commands.convert import _gone_on
from converters.labels.options import ComponentOptions, LabelOptions
from converters.options import (
    ConvertOptions,
    ExportMeshOptions,
    ImportMeshOptions,
    ImportSkeletonOptions,
    MeshOptions,
    Options,
    ServeOptions,
)
from converters.skeletons.options import SkeletonizeOptions
from converters.sources import opening
from converters.volumes.conversion import Summary
from formats.chunks.chunk_format import DATA_TYPES, ENCODINGS, ChunkFormat, refusal
from tests.converters.dask_cluster import started_cluster

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
OPTIONS = (ROOT / "docs/options.md").read_text()


def blocks(language: str) -> list[str]:
    """Return the blocks of code in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


COMMANDS = [
    line
    for block in blocks("sh")
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip() and not line.startswith("#")
]


@dataclass(frozen=True)
class Desk:
    """The folder where the README's commands are typed, with the files that it speaks of."""

    folder: Path

    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "GLASSINE_CACHE": str(self.folder / "cache"), "BROWSER": "true"}

    def run(self, words: list[str]) -> None:
        done = subprocess.run(
            words, cwd=self.folder, env=self.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{shlex.join(words)}: {done.stdout}{done.stderr}"

    @contextmanager
    def running(self, words: list[str], url: str) -> Iterator[None]:
        """Start a command that ends with Ctrl-C, wait until url answers, and end it so."""
        with (self.folder / "output").open("wb") as output:
            process = subprocess.Popen(
                words, cwd=self.folder, env=self.environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            answers = any(self._answers(process, url) for _ in range(300))
            assert answers, f"{shlex.join(words)}: no answer at {url}: {(self.folder / 'output').read_text()}"
            yield
        finally:
            process.send_signal(signal.SIGINT)
            status = process.wait(60)
        assert status == 0

    def _answers(self, process: subprocess.Popen[bytes], url: str) -> bool:
        if process.poll() is not None:
            return False
        try:
            with urllib.request.urlopen(url, timeout=20) as response:
                return bool(response.status == 200)
        except URLError:
            time.sleep(0.1)
            return False


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


# One rule a kind of command: what typing it here means.


def run_glassine(desk: Desk, words: list[str]) -> None:
    desk.run(words)


def run_with_cluster(desk: Desk, words: list[str]) -> None:
    """Start a scheduler and two workers in place of the README's; its shared disk is a folder of its own on the desk."""
    shared = desk.folder / "shared"
    (shared / "logs").mkdir(parents=True)
    shutil.copytree(desk.folder / "stack.zarr", shared / "stack.zarr")
    with started_cluster(shared / "logs", workers=2) as cluster:
        words[words.index("--executor") + 1] = cluster.address
        desk.run([word.replace("/shared", str(shared)) for word in words])


def run_with_remote(desk: Desk, words: list[str]) -> None:
    """Serve the datasets that are there in place of the README's host."""
    url = f"http://127.0.0.1:{free_port()}"
    port = url.rpartition(":")[2]
    with desk.running(["glassine", "serve", "datasets", "--port", port], f"{url}/healthz"):
        desk.run([word.replace("https://lab.example.org", url) for word in words])


def run_server(desk: Desk, words: list[str]) -> None:
    """Serve on a free port in place of the README's."""
    port = free_port()
    if "--port" in words:
        words[words.index("--port") + 1] = port
    else:
        words += ["--port", port]
    with desk.running(words, f"http://127.0.0.1:{port}/healthz"):
        pass


def ask_server(desk: Desk, words: list[str]) -> None:
    """Ask a server that is started for it; what follows --json is posted, and a job that it starts is waited for."""
    port = free_port()
    url = words[-1].replace(":8080", f":{port}")
    body = words[words.index("--json") + 1].encode() if "--json" in words else None
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with desk.running(["glassine", "serve", "datasets", "--port", port], f"http://127.0.0.1:{port}/healthz"):
        answer = ask(request)
        while body is not None and answer["state"] in ("queued", "running"):
            time.sleep(0.2)
            answer = ask(f"{url}/{answer['id']}")
    assert body is None or answer["state"] == "done", answer


def ask(what: str | urllib.request.Request) -> Any:
    with urllib.request.urlopen(what, timeout=20) as response:
        return json.load(response)


def check_make(desk: Desk, words: list[str]) -> None:
    """The target is there; what it does is what the rest of the tests is about."""
    subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)


def check_compose(desk: Desk, words: list[str]) -> None:
    """The service is there; what the app is told inside its container is run here."""
    match words[2:]:
        case ["up", *options]:
            assert set(options) <= {"--build", "--detach"}
        case ["run", "--rm", service, *arguments]:
            assert re.search(rf"^  {service}:$", (ROOT / "docker-compose.yml").read_text(), re.MULTILINE)
            told = [word.replace("/srv/data", "data") for word in arguments]
            desk.run(["env", "GLASSINE_TOKEN_FILE=token", "glassine", *told])
        case _:
            pytest.fail(f"no rule for {shlex.join(words)}")


def give_away(desk: Desk, words: list[str]) -> None:
    """Only root can."""
    if os.geteuid() == 0:
        desk.run(words)


def check_benchmark(desk: Desk, words: list[str]) -> None:
    """The benchmark is there; running it takes many minutes."""
    subprocess.run([sys.executable, *words[1:], "--help"], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)


def check_extra(desk: Desk, words: list[str]) -> None:
    """The extra is there; tests do not install anything."""
    (extra,) = re.findall(r"^\.\[(\w+)\]$", words[-1])
    assert extra in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


RULES: dict[str, Callable[[Desk, list[str]], None]] = {
    r"glassine convert .* --executor tcp://": run_with_cluster,
    r"glassine convert https://": run_with_remote,
    r"glassine (plan|convert|label|trace|mesh|skeletonize|import-mesh|import-skeleton|link|access) ": run_glassine,
    r"curl ": ask_server,
    r"glassine (serve|view) ": run_server,
    r"make ": check_make,
    r"docker compose ": check_compose,
    r"python -m benchmarks ": check_benchmark,
    r"pip install ": check_extra,
    r"(mkdir|cp) ": lambda desk, words: desk.run(words),
    r"chown ": give_away,
    r"openssl rand ": lambda desk, words: desk.run(["sh", "-c", " ".join(words)]),
}


Voxels = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("readme")
    random = np.random.default_rng(1)
    affine = np.diag([-1.0, 1.0, 1.0, 1.0])
    for name, voxels in (
        ("brain.nii.gz", random.integers(0, 900, (60, 72, 50), np.int16)),
        ("movie.nii.gz", random.integers(0, 900, (20, 24, 16, 5), np.int16)),
        ("regions.nii.gz", random.integers(0, 40, (60, 72, 50), np.int16)),
    ):
        image = nibabel.Nifti1Image(voxels, affine)
        image.header.set_xyzt_units("mm", "sec")
        nibabel.save(image, folder / name)
    grey = random.integers(0, 255, (40, 64, 80), np.uint8)
    np.save(folder / "part.npy", grey)
    z, y, x = (indices // 16 for indices in np.indices(grey.shape, np.uint32))
    np.save(folder / "cells.npy", 1 + x + 5 * y + 20 * z)
    save_slices(folder / "slices", grey)
    save_confocal(folder / "confocal.tif", random.integers(0, 4096, (20, 2, 64, 80), np.uint16))
    with h5py.File(folder / "em.h5", "w") as file:
        raw = file.create_dataset("volumes/raw", data=grey, chunks=(16, 16, 16), compression="gzip")
        raw.attrs["resolution"] = (40.0, 4.0, 4.0)
        file.create_dataset("volumes/labels", data=grey.astype(np.uint64))
    save_zarr(folder / "stack.zarr", grey)
    save_pieces(folder / "blocks", grey)
    save_sphere(folder / "700.stl")
    save_sphere(folder / "left.ply")
    save_neurons(folder / "neurons.nrrd")
    (folder / "800.swc").write_text("1 1 0.3 0.25 0.8 0.1 -1\n2 3 0.3 0.25 0.9 0.05 1\n")
    (listed,) = blocks("csv")
    (folder / "surfaces.csv").write_text(listed)
    (listed,) = blocks("json")
    assert json.loads(listed)["pieces"]
    (folder / "blocks.json").write_text(listed)
    return Desk(folder)


def save_slices(folder: Path, zyx: Voxels) -> None:
    folder.mkdir()
    for z, plane in enumerate(zyx):
        tifffile.imwrite(folder / f"z{z:04d}.tif", plane)


def save_confocal(path: Path, zcyx: Voxels) -> None:
    told = {"axes": "ZCYX", "spacing": 1.0, "unit": "um"}
    tifffile.imwrite(path, zcyx, imagej=True, resolution=(1 / 0.4, 1 / 0.4), metadata=told)


def save_zarr(path: Path, zyx: Voxels) -> None:
    store = {"driver": "zarr", "kvstore": {"driver": "file", "path": f"{path}/"}, "create": True}
    spec = store | {"metadata": {"shape": zyx.shape, "chunks": (32, 32, 32), "dtype": zyx.dtype.str}}
    tensorstore.open(spec).result()[...] = zyx


def save_neurons(path: Path) -> None:
    """Save two straight neurites between specks, in voxels of 1 µm."""
    grey = np.random.default_rng(2).normal(20, 4, (60, 50, 30))
    grey[5:55, 8:16, 8:16] += 150
    grey[5:55, 32:40, 14:22] += 150
    with warnings.catch_warnings():
        # pynrrd asks for the time by datetime.utcnow().
        warnings.filterwarnings("ignore", "datetime", DeprecationWarning)
        told = {"space dimension": 3, "space directions": np.eye(3), "space units": ["microns"] * 3}
        nrrd.write(str(path), grey.astype(np.uint8), told)


def save_sphere(path: Path) -> None:
    """Save a sphere of 0.2 µm, its lengths in µm."""
    sphere = trimesh.creation.icosphere(subdivisions=2, radius=0.2)
    sphere.apply_translation((0.3, 0.25, 0.8))
    sphere.export(path)


def save_pieces(folder: Path, zyx: Voxels) -> None:
    """Save the eight octants, x1y1z1.h5 that with the lowest x, y and z."""
    folder.mkdir()
    for upper in product(range(2), repeat=3):
        octant = tuple(slice(n // 2 * half, n // 2 * (half + 1)) for n, half in zip(zyx.shape, upper, strict=True))
        z, y, x = (half + 1 for half in upper)
        with h5py.File(folder / f"x{x}y{y}z{z}.h5", "w") as file:
            file["data"] = zyx[octant]


def test_every_command_is_told() -> None:
    told = {line.split()[1] for line in COMMANDS if line.startswith(("glassine ", "make "))}
    assert set(app.cli.COMMANDS) <= told


@pytest.mark.timeout(900)
def test_every_command_runs_in_the_order_it_is_told(desk: Desk) -> None:
    assert COMMANDS
    for line in COMMANDS:
        rule = next((rule for pattern, rule in RULES.items() if re.match(pattern, line)), None)
        assert rule, f"no rule says how to run {line!r}"
        rule(desk, shlex.split(line, comments=True))


TABLES = [
    ConvertOptions,
    ComponentOptions,
    MeshOptions,
    ExportMeshOptions,
    SkeletonizeOptions,
    ImportMeshOptions,
    ImportSkeletonOptions,
    ServeOptions,
]


def option_rows(model: type[Options]) -> list[str]:
    """Return the rows of the table of a command's options."""
    return [
        f"| `--{name.replace('_', '-')}` | {told(field.default)} | {field.description} |"
        for name, field in model.model_fields.items()
    ]


def told(default: object) -> str:
    if default is None:
        return ""
    if isinstance(default, bool):
        return "on" if default else "off"
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


@pytest.mark.parametrize("model", TABLES)
def test_the_table_of_options_is_the_models(model: type[Options]) -> None:
    rows = "\n".join(option_rows(model))
    assert rows in OPTIONS, f"expected in docs/options.md:\n{rows}"


def test_a_run_that_went_on_tells_so() -> None:
    summary = Mock(spec=Summary, kept=19, again=4)
    assert f"{_gone_on(summary)}\n```" in TEXT


def test_label_takes_the_rest_of_its_options_from_convert() -> None:
    rest = LabelOptions.model_fields.keys() - ComponentOptions.model_fields.keys()
    assert rest == ConvertOptions.model_fields.keys() - {"type", "encoding", "jpeg_quality"}


def test_the_table_of_sources_names_every_ending() -> None:
    (table,) = re.findall(r"^\| source \|.*\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    named = set(re.findall(r"(?<![\w.])\.[a-z][\w.]*\w", table.lower()))
    assert named == {ending for endings, _ in opening._READERS for ending in endings}


def test_the_table_of_encodings_is_what_is_accepted() -> None:
    header = f"| | {' | '.join(DATA_TYPES)} | channels |"
    rows = [
        f"| {encoding} | {' | '.join(cell(encoding, data_type) for data_type in DATA_TYPES)} | {channels(encoding)} |"
        for encoding in ENCODINGS
    ]
    table = "\n".join([header, "| --- " * (len(DATA_TYPES) + 2) + "|", *rows])
    assert table in TEXT, f"expected in README.md:\n{table}"


def counts(encoding: str, data_type: str) -> list[int]:
    """Return the numbers of channels, of 1 to 5, that the viewer takes."""
    return [n for n in range(1, 6) if refusal(ChunkFormat(encoding, data_type, n)) is None]


def cell(encoding: str, data_type: str) -> str:
    return "yes" if counts(encoding, data_type) else ""


def channels(encoding: str) -> str:
    """Return the numbers of channels as the table tells them; no data type of an encoding takes fewer than another."""
    (taken,) = {tuple(numbers) for data_type in DATA_TYPES if (numbers := counts(encoding, data_type))}
    return {(1, 2, 3, 4, 5): "any", (1, 2, 3, 4): "1 to 4", (1, 3): "1 or 3", (1,): "1"}[taken]


def test_pictures_and_pages_that_it_names_are_there() -> None:
    names = re.findall(r"\]\((?!https?:|#)([^)#]+)", TEXT)
    assert "docs/demo.png" in names
    for name in names:
        assert (ROOT / name).is_file(), f"README.md names {name}"


def test_environment_variables_are_told() -> None:
    read = set(re.findall(r"GLASSINE_[A-Z]+", (ROOT / "app/settings.py").read_text()))
    assert read <= set(re.findall(r"GLASSINE_[A-Z]+", OPTIONS))
