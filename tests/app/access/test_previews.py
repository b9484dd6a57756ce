"""Datasets that are being converted are as private as they will be: their infos, chunks and links."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from converters.claim import Request, claim
from converters.options import ConvertOptions
from converters.volumes.plan import Plan, make_plan
from formats.grid import chunk_name
from tests.app.access.conftest import READ_TOKEN, TOKEN, Answer, Client, bearer, grant, make_root, served

NAME = "lab/cloister/new"


@pytest.fixture
def writing(tmp_path: Path) -> Iterator[tuple[Client, Plan]]:
    """A server, and a private dataset that is held as by a conversion that has just begun."""
    root = make_root(tmp_path / "served")
    np.save(tmp_path / "volume.npy", np.full((20, 20, 20), 77, np.uint8))
    options = ConvertOptions(axes="xyz", resolution=(8, 8, 8), chunk_size=(16, 16, 16))
    plan = make_plan(tmp_path / "volume.npy", options)
    told = options.model_dump(mode="json", exclude={"memory", "executor", "overwrite"})
    request = Request("0", str(tmp_path / "volume.npy"), plan.source.fingerprint(), told)
    with served(root) as client, claim(root / NAME, request, overwrite=False):
        yield client, plan


def ready(client: Client, target: str, who: dict[str, str]) -> Answer:
    """Ask again as long as the server says to come back."""
    while (answer := client.ask(target, who)).status == 503:
        time.sleep(0.1)
    return answer


def test_what_is_being_written_is_shown_to_who_may_read_it(writing: tuple[Client, Plan]) -> None:
    client, plan = writing
    scale = plan.scales[0]
    chunk = f"{scale.key}/{chunk_name(scale.grid.chunk_box((0, 0, 0)))}"
    files = ("info", chunk, f"{scale.key}/none")
    nothing = client.ask("/data/lab/cloister/nothing/info").told
    for file in files:
        assert client.ask(f"/data/{NAME}/{file}").told == nothing, "as if there were nothing"
    for front, who in (("", bearer(READ_TOKEN)), (f"/{grant(NAME)}", {})):
        assert json.loads(ready(client, f"/data{front}/{NAME}/info", who).body)["preview"] == 0
        answer = ready(client, f"/data{front}/{NAME}/{chunk}", who)
        assert (answer.status, set(answer.body)) == (200, {77})
        assert answer.headers["Cache-Control"] == "no-store"
    for file in files:
        assert client.ask(f"/data/{NAME}/{file}").told == nothing, "after somebody else has seen it, too"
    assert client.ask(f"/api/link?name={NAME}").told == client.ask("/api/link?name=lab/cloister/nothing").told
    assert "/data/~" in client.ask(f"/api/link?name={NAME}", bearer(TOKEN)).body.decode()
