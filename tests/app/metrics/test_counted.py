"""A server with all that passes counted: what it tells is what was asked for, exactly, and can be read."""

import http.client
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import httpx
import pytest

from app.metrics.folders import Folders, Place
from app.settings import AccessSettings
from tests.app.metrics.conftest import CHUNK, Served
from tests.app.metrics.reading import OPENMETRICS, Samples, of, samples_of

BRAIN = "/data/lab/brain"
WRITE, READ = "w" * 20, "r" * 20


def until(client: httpx.Client, is_so: Callable[[Samples], bool]) -> Samples:
    """Return what is told as soon as something is so: a request counts when it has ended, which may be after its answer."""
    end = time.monotonic() + 60
    while not is_so(found := samples_of(client)):
        assert time.monotonic() < end, found
        time.sleep(0.02)
    return found


@pytest.mark.parametrize("accept", ["text/plain", OPENMETRICS])
def test_what_is_told_is_what_was_asked_for(served: Served, accept: str) -> None:
    asked = {
        ("GET", f"{BRAIN}/info"): 2,
        ("GET", f"{BRAIN}/8_8_8/{CHUNK}"): 5,
        ("HEAD", f"{BRAIN}/8_8_8/{CHUNK}"): 1,
        ("OPTIONS", f"{BRAIN}/8_8_8/{CHUNK}"): 1,
        ("GET", f"{BRAIN}/8_8_8/64-128_0-64_0-64"): 3,
        ("GET", f"/flat/lab/brain/16_16_16/{CHUNK}"): 2,
        ("GET", f"{BRAIN}/fine/4_4_4/0.shard"): 1,
        ("GET", f"{BRAIN}/mesh/1:0"): 1,
        ("GET", f"{BRAIN}/mesh/1:0:0-1_0-1_0-1"): 1,
        ("GET", f"{BRAIN}/skeletons/7"): 1,
        ("GET", f"{BRAIN}/provenance"): 1,
        ("GET", "/"): 1,
        ("GET", "/healthz"): 4,
        ("POST", "/api/jobs"): 1,
        ("GET", "/api/nothing"): 1,
    }
    with served() as client:
        for (method, path), times in asked.items():
            for _ in range(times):
                client.request(method, path)
        requests = sum(asked.values())
        until(client, lambda found: sum(of(found, "glassine_requests_total").values()) >= requests)
        found = samples_of(client, accept)
    told = of(found, "glassine_requests_total")
    told.pop("kind=probe method=read status=2xx")  # asking for the metrics is counted, too
    assert told == {
        "kind=info method=read status=2xx": 2,
        "kind=chunk method=read status=2xx": 8,
        "kind=chunk method=read status=4xx": 3,
        "kind=chunk method=preflight status=2xx": 1,
        "kind=shard method=read status=2xx": 1,
        "kind=mesh method=read status=2xx": 2,
        "kind=skeleton method=read status=2xx": 1,
        "kind=file method=read status=2xx": 1,
        "kind=page method=read status=2xx": 1,
        "kind=api method=write status=4xx": 1,
        "kind=api method=read status=4xx": 1,
    }
    assert of(found, "glassine_scale_requests_total") == {
        "dataset=lab/brain outcome=found scale=8_8_8": 6,
        "dataset=lab/brain outcome=absent scale=8_8_8": 3,
        "dataset=lab/brain outcome=found scale=16_16_16": 2,
        "dataset=lab/brain outcome=found scale=fine/4_4_4": 1,
    }
    nothing = len("There is nothing here.\n")
    assert of(found, "glassine_response_bytes_total")["kind=chunk"] == 5 * 1000 + 2 * 50_000 + 3 * nothing
    assert of(found, "glassine_response_bytes_total")["kind=shard"] == 3000
    assert of(found, "glassine_response_start_seconds_count")["kind=chunk"] == 12
    buckets = of(found, "glassine_response_start_seconds_bucket")
    assert buckets["kind=chunk le=+Inf"] == 12
    assert [buckets[f"kind=chunk le={bound}"] for bound in (0.001, 0.1, 10.0)] == sorted(
        buckets[f"kind=chunk le={bound}"] for bound in (0.001, 0.1, 10.0)
    )


def test_made_up_names_are_one_label(served: Served) -> None:
    # That many more cost no more the counts alone show (test_counts.py).
    names = 10_000 if os.environ.get("GLASSINE_SLOW") else 600
    with served() as client:
        before = len(samples_of(client))
        host, _, port = client.base_url.netloc.decode().partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        for number in range(names):
            connection.request("GET", f"/data/made-up-{number}/s{number}/{CHUNK}")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (404, b"There is nothing here.\n")
        connection.close()
        found = until(client, lambda found: sum(of(found, "glassine_scale_requests_total").values()) >= names)
    assert of(found, "glassine_scale_requests_total") == {"dataset=other outcome=absent scale=other": names}
    assert len(found) - before < 60


def test_grants_are_no_names(served: Served) -> None:
    with served() as client:
        client.get(f"/data/~zzzzzzz.2.{'A' * 22}/lab/brain/8_8_8/{CHUNK}")
        found = until(client, lambda found: of(found, "glassine_scale_requests_total") != {})
    assert of(found, "glassine_scale_requests_total") == {"dataset=lab/brain outcome=absent scale=8_8_8": 1}
    assert not any("~" in label for key in found for label in key)


def test_with_a_token_the_metrics_are_for_those_who_have_it(served: Served) -> None:
    with served(AccessSettings(WRITE, READ)) as client:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": READ}):
            refused = client.get("/metrics", headers=headers)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
            assert "glassine_" not in refused.text
        for token in (WRITE, READ):
            assert "glassine_requests_total" in client.get("/metrics", headers={"Authorization": f"Bearer {token}"}).text
        assert client.post("/metrics", headers={"Authorization": f"Bearer {READ}"}).status_code == 403


def test_a_page_elsewhere_cannot_read_the_metrics(served: Served) -> None:
    with served() as client:
        for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert client.get("/metrics", headers=headers).status_code == 403
        answer = client.get("/metrics")
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("accept", ["", "*/*", "text/plain;version=x", "application/openmetrics-text;version=..", "ü", ",;=,"])
def test_any_accept_is_answered(served: Served, accept: str) -> None:
    with served() as client:
        answer = client.get("/metrics", headers={"Accept": accept.encode()})
        assert answer.status_code == 200
        assert answer.text.count("# TYPE glassine_build_info gauge\n") == 1


def test_an_error_of_the_server_is_a_failed_request(served: Served, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("no sentence for this")

    monkeypatch.setattr("app.pages.find_datasets", fail)
    with served() as client:
        # The server ends a connection on which something went wrong.
        assert httpx.get(f"{client.base_url}/api/datasets", trust_env=False).status_code == 500
        found = until(client, lambda found: "kind=api method=read status=5xx" in of(found, "glassine_requests_total"))
    assert of(found, "glassine_response_start_seconds_count")["kind=api"] == 1


def test_counting_goes_on_after_what_should_not_happen(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failing = [RuntimeError("never seen before")]

    def fail_once(self: Folders, folders: Iterable[str]) -> dict[str, Place]:
        if failing:
            raise failing.pop()
        return places(self, folders)

    places = Folders.places
    monkeypatch.setattr(Folders, "places", fail_once)
    with served() as client:
        while failing:
            time.sleep(0.01)
        client.get(f"{BRAIN}/8_8_8/{CHUNK}")
        until(client, lambda found: of(found, "glassine_scale_requests_total") != {})
    assert "requests of the last second are not counted" in caplog.text
    assert "never seen before" in caplog.text


def test_open_connections_and_streams_are_told(served: Served) -> None:
    with served() as client:
        samples_of(client)
        with client.stream("GET", "/events/1"):
            found = samples_of(client)
            assert of(found, "glassine_connections") == {"": 2}
            assert of(found, "glassine_requests_in_progress") == {"": 2}
            assert "kind=page method=read status=2xx" not in of(found, "glassine_requests_total")
        found = until(client, lambda found: "kind=page method=read status=2xx" in of(found, "glassine_requests_total"))
        assert of(found, "glassine_requests_in_progress") == {"": 1}


def test_the_process_is_told(served: Served) -> None:
    with served() as client:
        found = samples_of(client)
    assert 10 << 20 < found["process_resident_memory_bytes",] < 10 << 30
    assert 5 < found["process_open_fds",] < found["process_max_fds",]
    assert 0 < time.time() - found["process_start_time_seconds",] < 86400
    assert found["process_cpu_seconds_total",] > 0
    assert (found["glassine_processes",], found["glassine_processes_ended_total",]) == (1, 0)
    (build,) = of(found, "glassine_build_info")
    assert build.startswith("python=3.")


def test_jobs_are_told(served: Served) -> None:
    with served() as client:
        wanted = {"command": "convert", "options": {"source": "none.nii", "dataset": "x"}}
        assert client.post("/api/jobs", json=wanted).status_code in (201, 503)
        if not client.get("/api/jobs").json()["jobs"]:
            pytest.skip("this kernel cannot confine processes")
        failed = "command=convert state=failed"
        found = until(client, lambda found: failed in of(found, "glassine_jobs_ended_total"))
        assert of(found, "glassine_jobs") == {failed: 1}
        assert of(found, "glassine_jobs_waiting") == {"": 0}
        assert of(found, "glassine_job_seconds_count") == {failed: 1}
        assert 0 < of(found, "glassine_job_seconds_sum")[failed] < 600
        assert client.request("DELETE", "/api/jobs/1").status_code == 200
        found = samples_of(client)
        assert of(found, "glassine_jobs") == {}
        assert of(found, "glassine_jobs_ended_total") == {failed: 1}


def test_without_jobs_that_can_be_read_all_else_is_told(served: Served, root: Path) -> None:
    (root / ".glassine" / "jobs").mkdir(parents=True)
    (root / ".glassine" / "jobs" / "jobs.sqlite").write_bytes(b"no database" * 1000)
    with served() as client:
        found = samples_of(client)
    assert of(found, "glassine_jobs_waiting") == {}
    assert "process_cpu_seconds_total" in {name for name, *_ in found}
