"""The API as its own OpenAPI description tells it, asked by schemathesis; and jobs that nobody should be able to start."""

import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from app.jobs.catalogue import job_commands
from app.server import Site, create_app, running
from app.settings import JobSettings
from tests.security.amount import cases

ENDLESS = {("GET", "/api/events")}
"""A stream: what it sends has tests of its own."""
FOREIGN = (
    "/etc/passwd",
    "../outside",
    "/proc/self/environ",
    "..",
    "/",
    ".",
    "",
    "\0",
    "file:///etc/passwd",
    "http://127.0.0.1:1/",
    "a/../../x",
    ".glassine/jobs",
    "scan.nii.gz/../..",
    "\ud800",
)
TRACEBACK = re.compile(rb"Traceback \(most recent|File \"[^\"]+\", line \d+")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Site:
    root = tmp_path_factory.mktemp("served")
    (root / "scan.nii.gz").write_bytes(b"no scan")
    return create_app(root, jobs=JobSettings(upload_limit=1 << 16))


@pytest.fixture(scope="module")
def url(app: Site) -> Iterator[str]:
    with running(app) as url:
        yield url


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info] == []


def examples(count: int) -> settings:
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture]
    return settings(max_examples=count, suppress_health_check=checks, phases=(Phase.generate,), deadline=None)


def operations(app: Site) -> Iterator[Any]:
    """Yield the operations of the API as schemathesis has them."""
    import schemathesis

    schema = schemathesis.openapi.from_dict(app.pages.openapi())
    for found in schema.get_all_operations():
        operation = found.ok()
        if (operation.method.upper(), operation.path) not in ENDLESS:
            yield operation


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_every_answer_is_one_that_the_description_tells(mode: str, app: Site, url: str) -> None:
    from schemathesis import checks
    from schemathesis.generation import GenerationMode
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    told = [
        checks.not_a_server_error,
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
        status_code_conformance,
    ]
    count, faults = 0, []
    with requests.Session() as session:
        session.trust_env = False
        for operation in operations(app):

            @given(case=operation.as_strategy(generation_mode=GenerationMode[mode.upper()]))
            @examples(cases(5, 500))
            def ask(case: Any) -> None:
                nonlocal count
                count += 1
                response = case.call(base_url=url, session=session, timeout=60)
                assert TRACEBACK.search(response.content) is None
                if response.status_code != 503:
                    case.validate_response(response, checks=told)

            try:
                ask()
            except Unsatisfiable:
                continue  # there is nothing in it that could be wrong
            except Exception as error:
                faults.append(f"{operation.method.upper()} {operation.path}: {type(error).__name__}: {str(error)[:1500]}")
    assert faults == []
    assert count > 50


def nonsense() -> st.SearchStrategy[Any]:
    leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.sampled_from(FOREIGN))
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=6
    )


@pytest.mark.timeout(1800)
def test_no_job_is_started_for_nonsense(url: str) -> None:
    """Every option of every command is given nonsense, and every path one that is not the server's."""
    names = {name: [option.name for option in command.form.options] for name, command in job_commands().items()}
    words = {name: [argument.name for argument in command.form.arguments] for name, command in job_commands().items()}

    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        before = client.get("/api/jobs").json()

        @given(st.data())
        @examples(cases(60, 5_000))
        def ask(data: st.DataObject) -> None:
            command = data.draw(st.sampled_from(list(names)))
            options: dict[str, Any] = {word: data.draw(st.sampled_from(FOREIGN)) for word in words[command]}
            for name in data.draw(st.lists(st.sampled_from([*names[command], "__class__", "", "kwargs", "self"]), max_size=3)):
                options[name] = data.draw(nonsense())
            for place in ("/api/jobs", "/api/plan"):
                body = {"command": command, "options": options}
                response = client.post(place, content=dumped(body), headers={"Content-Type": "application/json"})
                assert response.status_code in (400, 403, 422), (place, body, response.text)
                assert isinstance(response.json()["detail"], str)
                assert TRACEBACK.search(response.content) is None

        ask()
        assert [job["id"] for job in client.get("/api/jobs").json()["jobs"]] == [job["id"] for job in before["jobs"]]


WRONG_TEXT = {"\ud800": "half of a surrogate pair", float("nan"): "NaN", float("inf"): "infinity"}


@pytest.mark.parametrize("value", WRONG_TEXT, ids=WRONG_TEXT.values())
@pytest.mark.parametrize("place", ["/api/jobs", "/api/plan", "/api/access", "/api/session"])
def test_what_json_has_no_form_for_is_refused(place: str, value: Any, url: str) -> None:
    bodies = {
        "/api/access": {"name": value, "access": "public"},
        "/api/session": {"token": value},
    }
    body = bodies.get(place, {"command": "convert", "options": {"source": "scan.nii.gz", "dataset": "made", "smooth": value}})
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        response = client.post(place, content=dumped(body), headers={"Content-Type": "application/json"})
    assert 400 <= response.status_code < 500, response.text
    assert response.json()["detail"]


def dumped(body: Any) -> bytes:
    return json.dumps(body).encode("utf-8", "surrogatepass")
