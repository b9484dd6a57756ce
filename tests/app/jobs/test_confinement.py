"""Which files a job reaches: also what a source names in another file, opened by whatever library, is below the input folders."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import httpx
import numpy as np
import pytest
import tifffile

from app.settings import JobSettings
from tests.app.jobs.conftest import confined, converting, served, wait_until_ended

pytestmark = confined

SECRET = np.full((6, 8, 10), 77, np.uint8)
RESOLUTION = "8,8,8"

# Each writes a source at a path that names another file, which lies in a folder, and gives the source's path.


def external_link(source: Path, folder: Path) -> Path:
    with h5py.File(folder / "secret.h5", "w") as file:
        file["volume"] = SECRET
    with h5py.File(source.with_suffix(".h5"), "w") as file:
        file["volume"] = h5py.ExternalLink(str(folder / "secret.h5"), "/volume")
    return source.with_suffix(".h5")


def external_storage(source: Path, folder: Path) -> Path:
    (folder / "secret.raw").write_bytes(SECRET.tobytes())
    with h5py.File(source.with_suffix(".h5"), "w") as file:
        file.create_dataset("volume", SECRET.shape, SECRET.dtype, external=[(str(folder / "secret.raw"), 0, SECRET.nbytes)])
    return source.with_suffix(".h5")


def virtual_dataset(source: Path, folder: Path) -> Path:
    with h5py.File(folder / "secret.h5", "w") as file:
        file["volume"] = SECRET
    layout = h5py.VirtualLayout(SECRET.shape, SECRET.dtype)
    layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "volume", SECRET.shape)
    with h5py.File(source.with_suffix(".h5"), "w") as file:
        file.create_virtual_dataset("volume", layout)
    return source.with_suffix(".h5")


def detached_header(source: Path, folder: Path) -> Path:
    (folder / "secret.raw").write_bytes(SECRET.tobytes())
    source.with_suffix(".raw").symlink_to(folder / "secret.raw")
    source.with_suffix(".nhdr").write_text(
        "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 10 8 6\nencoding: raw\n"
        f"space directions: (1,0,0) (0,1,0) (0,0,1)\nspace: left-posterior-superior\ndata file: {source.name}.raw\n"
    )
    return source.with_suffix(".nhdr")


def pieces(source: Path, folder: Path) -> Path:
    np.save(folder / "secret.npy", SECRET)
    list_of_one = {"pieces": [{"file": str(folder / "secret.npy"), "start": [0, 0, 0]}]}
    source.with_suffix(".json").write_text(json.dumps(list_of_one))
    return source.with_suffix(".json")


def linked_slices(source: Path, folder: Path) -> Path:
    source.mkdir()
    for z in range(3):
        tifffile.imwrite(folder / f"secret{z}.tif", SECRET[z])
        (source / f"z{z}.tif").symlink_to(folder / f"secret{z}.tif")
    return source


KINDS: dict[str, Callable[[Path, Path], Path]] = {
    kind.__name__: kind for kind in (external_link, external_storage, virtual_dataset, detached_header, pieces, linked_slices)
}

FOLLOWED = ["external_storage", "detached_header", "linked_slices"]
"""Those of which it is shown that they are read where they may be."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The served folder, one beside it that may be read, and one that may not."""
    base = tmp_path_factory.mktemp("confinement")
    made = {name: base / name for name in ("root", "inputs", "outside")}
    for folder in made.values():
        folder.mkdir()
    return made


@pytest.fixture(scope="module")
def client(folders: dict[str, Path]) -> Iterator[httpx.Client]:
    with served(folders["root"], JobSettings(at_once=2, inputs=(folders["inputs"],))) as opened:
        yield opened


@pytest.fixture(scope="module")
def jobs(client: httpx.Client, folders: dict[str, Path]) -> dict[tuple[str, str], dict[str, Any]]:
    """Conversions of a source of each kind that names a file in a folder that may be read, and in one that may not."""
    numbers = {}
    for kind, write in KINDS.items():
        for place in ("inputs", "outside") if kind in FOLLOWED else ("outside",):
            source = write(folders["root"] / f"{kind}-{place}", folders[place])
            options = {"source": source.name, "dataset": f"made/{kind}-{place}", "resolution": RESOLUTION, "executor": "serial"}
            answer = client.post("/api/jobs", json={"command": "convert", "options": options})
            assert answer.status_code == 201, answer.text
            numbers[kind, place] = answer.json()["id"]
    return {key: wait_until_ended(client, number) for key, number in numbers.items()}


@pytest.mark.parametrize("kind", FOLLOWED)
def test_what_a_source_names_is_read_below_the_input_folders(kind: str, jobs: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert jobs[kind, "inputs"]["state"] == "done", jobs[kind, "inputs"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_source_names_is_not_read_elsewhere(
    kind: str, jobs: dict[tuple[str, str], dict[str, Any]], folders: dict[str, Path]
) -> None:
    job = jobs[kind, "outside"]
    assert job["state"] == "failed", job
    assert job["error"]
    assert "Traceback" not in job["log"]
    assert not (folders["root"] / "made" / f"{kind}-outside" / "info").exists()
    for path in (folders["root"] / "made" / f"{kind}-outside").rglob("*"):
        assert not path.is_file() or b"\x4d" * 10 not in path.read_bytes()


CONFINED = """
import errno, os, socket, subprocess, sys
from pathlib import Path
from app.jobs.confinement import Confinement, confine

read, write, outside = map(Path, sys.argv[1:4])
listener = socket.create_server(("127.0.0.1", 0))
confine(Confinement((read,), (write,), network=False))

def refused(action):
    try:
        action()
    except OSError as error:
        return error.errno in (errno.EACCES, errno.EXDEV)
    return False

print((read / "file").read_text() == "content")
print(refused(lambda: (read / "new").write_text("x")), refused(lambda: (read / "file").unlink()))
(write / "a").mkdir()
(write / "a" / "b").write_text("x")
os.replace(write / "a" / "b", write / "b")
print((write / "b").read_text() == "x")
print(refused(lambda: (outside / "file").read_text()), refused(lambda: (outside / "file").write_text("x")))
print(refused(lambda: os.listdir(outside)), refused(lambda: os.truncate(outside / "file", 0)))
print(refused(lambda: os.replace(write / "b", outside / "b")), refused(lambda: os.link(outside / "file", write / "c")))
print(refused(lambda: socket.create_connection(listener.getsockname())))
print(refused(lambda: open(f"/proc/{os.getppid()}/environ").read()), refused(lambda: open("/etc/passwd").read()))
done = subprocess.run(["cat", str(outside / "file")], capture_output=True)
print(done.returncode != 0 and done.stdout == b"")
"""


def test_the_kernel_holds_a_process_and_what_it_starts_to_its_folders(tmp_path: Path) -> None:
    for name in ("read", "write", "outside"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("content")
    folders = [str(tmp_path / name) for name in ("read", "write", "outside")]
    command = [sys.executable, "-P", "-c", CONFINED, *folders]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.stderr == ""
    assert set(done.stdout.split()) == {"True"}
    assert (tmp_path / "outside" / "file").read_text() == "content"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"source": "../outside/secret.npy"}, "../outside/secret.npy: lies outside of the folders that this server reads; list"),
        ({"source": "/etc/passwd"}, "/etc/passwd: lies outside"),
        ({"source": "link.npy"}, "link.npy: lies outside"),
        ({"source": "away/*.npy"}, "away/*.npy: lies outside"),
        ({"source": "z*/../../outside/*.npy"}, "z*/../../outside/*.npy: lies outside"),
        ({"source": "{a,b}/../../outside/x{0-9}.npy"}, "{a,b}/../../outside/x{0-9}.npy: lies outside"),
        ({"source": ".glassine/jobs/jobs.sqlite"}, "what lies in a folder .glassine is no source"),
        ({"source": "https://example.org/volume"}, "https://example.org/volume: this server reads no URLs; it does with GLASS"),
        ({"source": "file:///etc/passwd"}, "file:///etc/passwd: this server reads no URLs"),
        ({"dataset": "../x"}, "../x: expected a path below the served folder, such as a dataset's name"),
        ({"dataset": "/tmp/x"}, "/tmp/x: expected a path below the served folder"),
        ({"dataset": "away/x"}, "away/x: expected a path below"),
        ({"dataset": "."}, ".: expected a path below"),
        ({"dataset": ".glassine/jobs"}, ".glassine/jobs: no part of the path may begin with a dot"),
        ({"dataset": "a/.glassine/x"}, "a/.glassine/x: no part of the path may begin with a dot"),
        ({"executor": "tcp://127.0.0.1:8786"}, "this server hands work to no cluster but those in GLASSINE_SCHEDULERS"),
    ],
)  # fmt: skip
def test_paths_that_lead_elsewhere_are_refused_at_once(
    client: httpx.Client, folders: dict[str, Path], options: dict[str, Any], said: str
) -> None:
    for name, target in (("link.npy", folders["outside"] / "secret.npy"), ("away", folders["outside"])):
        if not (folders["root"] / name).is_symlink():
            (folders["root"] / name).symlink_to(target)
    given = {"source": "scan.nii.gz", "dataset": "x", **options}
    for path in ("/api/jobs", "/api/plan"):
        if path == "/api/plan" and "dataset" in options:
            continue
        answer = client.post(path, json={"command": "convert", "options": given})
        assert answer.status_code == 403
        assert said in answer.json()["detail"]


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("mesh", {"dataset": "seg", "export": "../out"}),
        ("skeletonize", {"dataset": "seg", "swc": "/tmp/swc"}),
        ("label", {"source": "a.npy", "dataset": "x", "table": "../table.csv"}),
        ("import-mesh", {"files": ["/etc/passwd", "x"]}),
        ("import-mesh", {"files": ["1.stl", "../x"]}),
        ("import-mesh", {"files": ["1.stl", "x"], "table": "/etc/passwd"}),
        ("import-mesh", {"files": ["1.stl", "x"], "affine": "/etc/passwd"}),
    ],
)
def test_options_that_are_paths_are_held_to_the_folders_too(client: httpx.Client, command: str, options: dict[str, Any]) -> None:
    answer = client.post("/api/jobs", json={"command": command, "options": options})
    assert answer.status_code == 403, answer.text


def test_numbers_in_the_place_of_a_file_are_no_path(client: httpx.Client) -> None:
    options = {"files": ["1.stl", "meshes"], "affine": "1 0 0 0, 0 1 0 0, 0 0 1 1e3"}
    answer = client.post("/api/jobs", json={"command": "import-mesh", "options": options})
    assert answer.status_code == 201
    job = wait_until_ended(client, answer.json()["id"])
    assert (job["state"], job["error"]) == ("failed", "1.stl: there is no such file")


def test_a_process_knows_no_secrets_of_its_server(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.jobs.places import places_of
    from app.jobs.process import Run, _environment

    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    run = Run("convert", {}, root / "scratch", root / "log")
    assert not {"SECRET_TOKEN", "AWS_SECRET_ACCESS_KEY"} & set(_environment(run, places_of(root, JobSettings())))
    remote = _environment(run, places_of(root, JobSettings(remote=True)))
    assert ("AWS_SECRET_ACCESS_KEY" in remote, "SECRET_TOKEN" in remote) == (True, False)


def test_where_the_kernel_cannot_confine_no_job_is_taken(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.jobs.process.can_confine", lambda: False)
    with served(root) as client:
        for path in ("/api/jobs", "/api/plan"):
            answer = client.post(path, json=converting("x"))
            assert answer.status_code == 503
            assert "GLASSINE_UNCONFINED=1" in answer.json()["detail"]
    assert os.listdir(root) == ["scan.nii.gz"]
    with served(root, JobSettings(unconfined=True)) as client:
        number = client.post("/api/jobs", json=converting("x")).json()["id"]
        assert wait_until_ended(client, number)["state"] == "done"
