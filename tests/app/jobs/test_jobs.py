"""Jobs over HTTP from their beginning to their end, with real processes."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import numpy as np
import psutil
import pytest
import trimesh

from app.jobs.catalogue import PLANNED, job_commands
from app.jobs.plans import _PLANS
from app.settings import JobSettings, read_job_settings
from converters.errors import OptionError
from tests.app.jobs.conftest import Quiet, confined, converting, served, wait_for, wait_until_ended, write_scan
from tests.converters.dask_cluster import started_cluster

pytestmark = confined


def test_a_conversion_from_its_plan_to_the_viewer(client: httpx.Client, root: Path) -> None:
    planned = client.post("/api/plan", json=converting("brain", encoding="png")).json()
    assert planned["plan"]["shape"] == [20, 22, 18]
    assert planned["plan"]["encoding"] == "png"
    assert planned["plan"]["seconds_about"] > 0
    assert planned["text"].startswith("source  scan.nii.gz\nshape   x=20, y=22, z=18 voxels\n")
    assert os.listdir(root) == ["scan.nii.gz"], "a plan writes nothing"

    answer = client.post("/api/jobs", json=converting("lab/brain", encoding="png"))
    job = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"/api/jobs/{job['id']}")
    assert (job["state"], job["dataset"], job["options"]) == (
        "queued",
        "lab/brain",
        converting("lab/brain", encoding="png")["options"],
    )
    job = wait_until_ended(client, job["id"])
    assert (job["state"], job["error"], job["attempts"], job["step"]) == ("done", None, 1, "convert")
    assert (job["done"], job["unit"]) == (job["total"], "voxels")
    assert job["created"] <= job["started"] <= job["ended"]
    assert job["summary"].startswith("lab/brain: image, 20 x 22 x 18 voxels of 2 x 2 x 3 mm, ")
    assert job["log"].startswith(job["summary"])
    assert client.get(f"/api/jobs/{job['id']}/log").text == f"{job['summary']}\n"
    assert f"{client.base_url}/data/lab/brain" in str(httpx.URL(job["link"]).fragment)
    assert client.get("/data/lab/brain/info").json()["scales"][0]["encoding"] == "png"
    assert client.get("/api/jobs").json()["jobs"] == [{**job, "log": None}]
    refused = client.post(f"/api/jobs/{job['id']}/retry", json={})
    said = f"job {job['id']} is done, only a failed or cancelled one can be tried again"
    assert (refused.status_code, refused.json()["detail"]) == (409, said)

    assert client.delete(f"/api/jobs/{job['id']}").json()["state"] == "done"
    assert client.get(f"/api/jobs/{job['id']}").json() == {"detail": f"there is no job {job['id']}"}
    assert client.get("/api/jobs").json() == {"jobs": []}
    assert client.get("/data/lab/brain/info").status_code == 200, "datasets stay as they are"
    assert sorted(os.listdir(root / ".glassine" / "jobs" / "scratch")) == []


def test_a_failed_job_tells_the_command_lines_sentence_and_can_be_tried_again(client: httpx.Client, root: Path) -> None:
    number = client.post("/api/jobs", json={"command": "convert", "options": {"source": "none.nii", "dataset": "x"}}).json()["id"]
    job = wait_until_ended(client, number)
    assert (job["state"], job["error"], job["link"]) == ("failed", "none.nii: no such file", None)
    assert job["log"] == "glassine: none.nii: no such file\n"
    write_scan(root / "none.nii")
    again = client.post(f"/api/jobs/{number}/retry", json={}).json()
    assert (again["state"], again["error"]) == ("queued", None)
    job = wait_until_ended(client, number)
    assert (job["state"], job["attempts"]) == ("done", 2)


def slow(client: httpx.Client, root: Path, dataset: str) -> int:
    """Start a conversion of many small blocks, which takes some seconds."""
    write_scan(root / "large.nii", (112, 112, 112))
    small = {"encoding": "png", "chunk_size": [16, 16, 16], "memory": "150MB", "executor": "processes:2"}
    options = {"source": "large.nii", "dataset": dataset, **small}
    return int(client.post("/api/jobs", json={"command": "convert", "options": options}).json()["id"])


def children_of(root: Path) -> list[psutil.Process]:
    """Return the processes of jobs in a folder, their workers too."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        if process.info["cwd"] == str(root.resolve()) and process.pid != os.getpid():
            found.append(process)
    return found


def test_a_running_job_is_cancelled_with_all_its_processes_and_goes_on_later(client: httpx.Client, root: Path) -> None:
    number = slow(client, root, "large")
    second = client.post("/api/jobs", json=converting("second")).json()["id"]
    wait_for(client, number, lambda job: bool(job["done"]))
    processes = children_of(root)
    assert processes
    assert all(process.nice() == 19 for process in processes if "child" in " ".join(process.cmdline()))
    assert client.get(f"/api/jobs/{second}").json()["state"] == "queued"
    answer = client.delete(f"/api/jobs/{number}")
    assert (answer.status_code, answer.json()["state"], answer.json()["cancelling"]) == (202, "running", True)
    job = wait_until_ended(client, number)
    assert (job["state"], job["cancelling"], job["error"]) == ("cancelled", False, None)
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert not alive
    assert client.post(f"/api/jobs/{number}/retry", json={}).status_code == 200
    assert wait_until_ended(client, second)["state"] == "done"
    job = wait_until_ended(client, number)
    assert job["state"] == "done"
    assert "went on where a run was stopped, blocks kept: " in job["summary"]


def test_a_waiting_job_is_cancelled_at_once(client: httpx.Client, root: Path) -> None:
    number = slow(client, root, "large")
    second = client.post("/api/jobs", json=converting("second")).json()["id"]
    answer = client.delete(f"/api/jobs/{second}")
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    client.delete(f"/api/jobs/{number}")
    wait_until_ended(client, number)
    assert not (root / "second").exists()


def test_a_server_that_stops_ends_its_jobs_and_the_next_goes_on_with_them(root: Path) -> None:
    with served(root) as client:
        number = slow(client, root, "large")
        wait_for(client, number, lambda job: bool(job["done"]))
        processes = children_of(root)
        assert processes
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert not alive
    with served(root) as client:
        assert client.get(f"/api/jobs/{number}").json()["state"] in ("interrupted", "running")
        job = wait_until_ended(client, number)
    assert (job["state"], job["attempts"]) == ("done", 2)
    assert "blocks kept: " in job["summary"]


def test_so_many_run_at_once_and_the_rest_in_their_order(root: Path) -> None:
    with served(root, JobSettings(at_once=2)) as client:
        numbers = [
            client.post("/api/jobs", json=converting(f"d{number % 3}", overwrite=True)).json()["id"] for number in range(4)
        ]
        most = 0
        while True:
            states = [job["state"] for job in client.get("/api/jobs").json()["jobs"]]
            most = max(most, states.count("running"))
            if set(states) == {"done"}:
                break
            time.sleep(0.02)
        started = [client.get(f"/api/jobs/{number}").json()["started"] for number in numbers]
    assert most <= 2
    assert started == sorted(started)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("GET", "/api/jobs/7", None, 404, "there is no job 7"),
        ("GET", "/api/jobs/7/log", None, 404, "there is no job 7"),
        ("GET", "/api/jobs/7/events", None, 404, "there is no job 7"),
        ("DELETE", "/api/jobs/7", None, 404, "there is no job 7"),
        ("POST", "/api/jobs/7/retry", b"{}", 404, "there are no jobs yet"),
        ("GET", "/api/jobs/0", None, 422, "path.number: input should be greater than or equal to 1"),
        ("GET", "/api/jobs/99999999999999999999", None, 422, "path.number: "),
        ("POST", "/api/jobs", b"{", 400, "the body is no JSON: "),
        ("POST", "/api/jobs", b"[" * 100_000, 400, ""),
        ("POST", "/api/jobs", b"[]", 422, "the body: "),
        ("POST", "/api/jobs", b"{}", 422, "command: field required"),
        ("POST", "/api/jobs", b'{"command": "convert", "option": {}}', 422, "option: extra inputs are not permitted"),
        ("POST", "/api/jobs", b'{"command": "convert"}', 422, "SOURCE is missing, see --help"),
        (
            "POST",
            "/api/plan",
            b'{"command": "import-mesh", "options": {"files": ["a.stl", "b"]}}',
            422,
            "there are only plans of convert, mesh, skeletonize, label, trace, and none of 'import-mesh'",
        ),
        ("POST", "/api/plan", b'{"command": "convert", "options": {"source": "no.nii"}}', 422, "no.nii: no such file"),
        ("POST", "/api/jobs", b'{"command": "' + b"x" * (1 << 20) + b'"}', 413, "a body of JSON has at most 1048576 bytes here"),
        ("GET", "/api/nothing", None, 404, "Not Found"),
    ],
)
def test_what_is_wrong_is_one_sentence(quiet: Quiet, method: str, path: str, body: bytes | None, status: int, said: str) -> None:
    answer = quiet.client.request(method, path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"].startswith(said)
    assert "Traceback" not in answer.text


def test_a_folder_that_cannot_be_written_is_one_sentence(root: Path) -> None:
    (root / ".glassine").write_text("no folder")
    with served(root) as client:
        answer = client.post("/api/jobs", json=converting("x"))
        assert answer.status_code == 503
        assert answer.json()["detail"].endswith(".glassine/jobs: Not a directory")
        assert client.get("/api/jobs").json() == {"jobs": []}


def test_a_store_that_cannot_be_read_is_one_sentence(root: Path) -> None:
    (root / ".glassine" / "jobs").mkdir(parents=True)
    (root / ".glassine" / "jobs" / "jobs.sqlite").write_bytes(b"no database at all" * 1000)
    with served(root) as client:
        for answer in (client.get("/api/jobs"), client.post("/api/jobs", json=converting("x"))):
            assert answer.status_code == 503
            assert answer.json()["detail"] == "the jobs cannot be read or written: file is not a database"
        assert client.get("/api/datasets").status_code == 200


def test_the_settings_come_from_the_environment(tmp_path: Path) -> None:
    assert read_job_settings({"GLASSINE_CACHE": "/c"}) == JobSettings(cache=Path("/c"))
    told = {
        "GLASSINE_JOBS": "3", "GLASSINE_INPUTS": f"/a{os.pathsep}/b", "GLASSINE_REMOTE": "1", "GLASSINE_UNCONFINED": "1",
        "GLASSINE_SCHEDULERS": "tcp://a:1, tcp://b:2", "GLASSINE_UPLOAD_LIMIT": "20GB", "GLASSINE_CACHE": "/c",
    }  # fmt: skip
    assert read_job_settings(told) == JobSettings(
        3, (Path("/a"), Path("/b")), True, frozenset({"tcp://a:1", "tcp://b:2"}), 20_000_000_000, True, Path("/c")
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("GLASSINE_JOBS", "many", "GLASSINE_JOBS=many: expected how many jobs run at once, a whole number of at least 1"),
        ("GLASSINE_JOBS", "0", "GLASSINE_JOBS=0: expected how many jobs"),
        ("GLASSINE_UPLOAD_LIMIT", "lots", "GLASSINE_UPLOAD_LIMIT=lots: expected bytes, such as 20GB or 64GiB"),
    ],
)
def test_a_setting_that_is_not_understood_is_one_sentence(name: str, value: str, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        read_job_settings({name: value})


def test_a_job_hands_its_work_to_a_cluster_that_the_server_was_told(root: Path, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    with (
        started_cluster(tmp_path / "logs", workers=1) as cluster,
        served(root, JobSettings(schedulers=frozenset({cluster.address}))) as client,
    ):
        number = client.post("/api/jobs", json=converting("brain", executor=cluster.address)).json()["id"]
        job = wait_until_ended(client, number)
    assert job["state"] == "done", job
    assert (root / "brain" / "info").is_file()


# Every command ------------------------------------------------------------------------------------------------------------------

GREY = {"source": "grey.npy", "resolution": [8, 8, 8], "threshold": "100", "executor": "serial"}
GIVEN: dict[str, dict[str, Any]] = {
    "convert": {"source": "labels.npy", "dataset": "seg", "resolution": [8, 8, 8]},
    "mesh": {"dataset": "seg", "executor": "serial"},
    "skeletonize": {"dataset": "seg", "swc": "swc", "dust_threshold": 10, "executor": "serial"},
    "import-mesh": {"files": ["7.stl", "balls"]},
    "import-skeleton": {"files": ["8.swc", "trees"]},
    "label": {**GREY, "dataset": "labelled", "json": True},
    "trace": {**GREY, "dataset": "traced", "image": "grey"},
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Path]]:
    """A server with a source for each command. Its jobs find what other runs compiled: that takes longer than all the rest."""
    root = tmp_path_factory.mktemp("lab")
    labels = np.zeros((40, 40, 40), np.uint32)
    labels[4:12, 4:12, 2:38] = 1
    labels[20:30, 20:30, 5:35] = 2
    np.save(root / "labels.npy", labels)
    np.save(root / "grey.npy", (labels > 0).astype(np.uint8) * 200)
    trimesh.creation.icosphere(subdivisions=2, radius=300).export(root / "7.stl")
    (root / "8.swc").write_text("1 1 0.1 0.1 0.1 0.01 -1\n2 3 0.2 0.1 0.1 0.01 1\n")
    with served(root, JobSettings(cache=Path(__file__).parents[3] / ".pytest_cache")) as client:
        yield client, root


@pytest.fixture(scope="module")
def jobs(lab: tuple[httpx.Client, Path]) -> dict[str, dict[str, Any]]:
    """A job of each command, ended."""
    client, _ = lab
    numbers = {
        command: client.post("/api/jobs", json={"command": command, "options": options}).json()["id"]
        for command, options in GIVEN.items()
    }
    return {command: wait_until_ended(client, number) for command, number in numbers.items()}


def test_every_command_runs_as_a_job(lab: tuple[httpx.Client, Path], jobs: dict[str, dict[str, Any]]) -> None:
    client, root = lab
    assert sorted(jobs) == sorted(job_commands())
    for command, job in jobs.items():
        assert job["state"] == "done", f"{command}: {job['error']}: {job['log']}"
        assert job["summary"]
    assert sorted(path.name for path in (root / "swc").iterdir()) == ["1.swc", "2.swc"]
    assert client.get("/data/seg/info").json()["mesh"]


def test_json_is_told_where_it_is_asked_for(jobs: dict[str, dict[str, Any]]) -> None:
    told = json.loads(jobs["label"]["summary"])
    assert (told["dataset"], told["shape"]) == ("labelled", [40, 40, 40])


def opened(job: dict[str, Any]) -> list[str]:
    """Return the datasets that a job's link opens."""
    layers = json.loads(unquote(job["link"]).split("#!")[1])["layers"]
    return [layer["source"]["url"].partition("/data/")[2] for layer in layers]


def test_what_a_job_made_is_opened_by_its_link_whatever_it_is(jobs: dict[str, dict[str, Any]]) -> None:
    assert {command: opened(job) for command, job in jobs.items()} == {
        "convert": ["seg"], "mesh": ["seg"], "skeletonize": ["seg"], "import-mesh": ["balls"], "import-skeleton": ["trees"],
        "label": ["labelled"], "trace": ["grey", "traced"],
    }  # fmt: skip


@pytest.mark.parametrize("command", PLANNED)
def test_what_a_command_would_do_is_told_and_nothing_is_written(
    lab: tuple[httpx.Client, Path], jobs: dict[str, dict[str, Any]], command: str
) -> None:
    client, root = lab
    before = sorted(root.rglob("*"))
    options = {name: value for name, value in GIVEN[command].items() if name != "dataset" or "source" not in GIVEN[command]}
    answer = client.post("/api/plan", json={"command": command, "options": options})
    assert answer.status_code == 200, answer.text
    plan = answer.json()["plan"]
    assert (plan["shape"], plan["resolution"], plan["workers"] >= 1) == ([40, 40, 40], [8, 8, 8], True)
    assert "\nmemory  at most " in answer.json()["text"]
    assert sorted(root.rglob("*")) == before


def test_there_is_a_plan_of_every_command_that_says_so() -> None:
    assert set(_PLANS) == set(PLANNED)


def test_what_is_there_already_needs_no_plan(quiet: Quiet) -> None:
    answer = quiet.client.post("/api/plan", json={"command": "mesh", "options": {"dataset": "seg", "export": "out"}})
    said = "what is exported is there already; there is nothing to plan"
    assert (answer.status_code, answer.json()["detail"]) == (503, said)
