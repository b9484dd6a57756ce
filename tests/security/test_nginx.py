"""The same requests behind nginx with the repository's nginx.conf: what is private stays so, whoever asks and however."""

import http.client
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.app.data.asking import Line, Served
from tests.e2e.fronted import nginx_folder, running_app, running_nginx
from tests.security import site
from tests.security.amount import cases
from tests.security.answers import Answer, assert_known, told_headers
from tests.security.asked import Asked, requests
from tests.security.test_paths import GRANT, WRONG_CREDENTIALS, all_of, granted_targets, holds_grant, raw_requests

KNOWN = site.public_contents()


@pytest.fixture(scope="module")
def fronted(nginx: str) -> Iterator[tuple[Served, Path]]:
    """nginx and the app behind it over the datasets and secrets of site.py, and the folder that holds them all."""
    with nginx_folder() as folder:
        (folder / "srv/data").rmdir()
        base = folder / "srv"
        site.make(base, "data")
        environment = {"GLASSINE_TOKEN": site.TOKEN}
        with running_app(folder, environment) as app, running_nginx(nginx, folder, app.address) as front:
            yield front.served, base


def drawn(count: int) -> list[Asked]:
    """Return requests of hypothesis, the same in every run."""
    found: list[Asked] = []
    strategy = st.one_of(requests(site.NAMES, WRONG_CREDENTIALS), granted_targets())

    @settings(
        max_examples=count // 20,
        database=None,
        derandomize=True,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(strategy, min_size=20, max_size=20))
    def draw(many: list[Asked]) -> None:
        found.extend(one for one in many if one.method != "POST")

    draw()
    return found


def asked_of(line: Line, asked: Asked) -> Answer | None:
    """Return nginx's answer, None where it closed the connection instead."""
    headers = {name.replace("-", "_"): value for name, value in asked.headers}
    try:
        found = line.ask(asked.target, asked.method, **headers)
    except (http.client.RemoteDisconnected, ConnectionError):
        line.close()
        return None
    pairs = ((name.encode("latin-1"), value.encode("latin-1")) for name, value in found.headers.items())
    return Answer(found.status, told_headers(pairs), found.body)


@pytest.mark.timeout(3600)
def test_a_private_dataset_is_read_by_its_link_alone(fronted: tuple[Served, Path]) -> None:
    served, _ = fronted
    read = refused = 0
    with served.line() as line:
        for asked in drawn(cases(300, 20_000)):
            answer = asked_of(line, asked)
            if answer is None:
                continue
            assert answer.status < 500, (asked, answer)
            read += answer.status in (200, 206)
            refused += answer.status == 401
            if asked.target.startswith(("/data/", "/flat/")) and answer.status in (200, 206, 401):
                known = [*KNOWN, *(site.granted_contents() if holds_grant(asked.target) else ())]
                assert_same(asked, answer, known)
    assert read > 10
    assert refused > 10


def assert_same(asked: Asked, answer: Answer, known: list[bytes]) -> None:
    if answer.status == 401:
        assert answer.headers["cache-control"] == "no-store", (asked, answer)
        return
    # What the app may ignore of a range and nginx not, and the other way round, has a table of its own.
    asked_range = forward(asked.range) if answer.status == 206 and asked.range is not None else None
    try:
        assert_known(answer, known, asked_range, asked.method)
    except AssertionError as error:
        raise AssertionError(f"{asked}: {answer.status}, {answer.headers}: {error}") from error


def forward(asked_range: str) -> str:
    """Return a Range header without the ranges that end before they begin: nginx leaves those out, and takes the others."""
    unit, equals, specs = asked_range.partition("=")
    backward = re.compile(r"[ \t]*([0-9]+)-([0-9]+)[ \t]*", re.ASCII)
    kept = [spec for spec in specs.split(",") if not ((found := backward.fullmatch(spec)) and int(found[2]) < int(found[1]))]
    return f"{unit}{equals}{','.join(kept)}"


def test_ranges_that_end_before_they_begin_are_left_out() -> None:
    assert forward("bytes=9-0,0-8, 12-11,-5,3-") == "bytes=0-8,-5,3-"


def test_the_right_link_lets_read_behind_nginx(fronted: tuple[Served, Path]) -> None:
    served, _ = fronted
    for name, content in site.GRANTED_FILES.items():
        target = name.replace("%", "%25").replace(" ", "%20")
        found = served.ask(f"/data/{GRANT}/{site.GRANTED}/{target}", Accept_Encoding="identity")
        assert (found.status, found.decoded) == (200, content), name
        assert served.ask(f"/data/{site.GRANTED}/{target}").status == 401
        assert served.ask(f"/data/{site.GRANTED}/{target}", Authorization=f"Bearer {site.TOKEN}").status == 200


@pytest.mark.timeout(3600)
def test_any_bytes_for_a_target_tell_nothing_private(fronted: tuple[Served, Path]) -> None:
    served, base = fronted
    private = [path.read_bytes() for path in base.rglob("*") if path.is_file() and path.stat().st_size >= 5000]
    private += site.private_contents()
    chance = random.Random(3)
    for data in raw_requests(cases(200, 5_000), seed=chance.randrange(100)):
        received = all_of(served, data)
        status = received[9:12]
        assert not status.startswith(b"5") or status in (b"501", b"505"), (data, received[:300])
        # What is random is not made smaller by packing: it would be seen in a packed body too.
        assert not any(secret[7:39] in received for secret in private), (data, received[:300])
    assert json.loads(served.ask(f"/data/{site.PUBLIC}/info").decoded) == json.loads(site.CHUNKED["info"])
