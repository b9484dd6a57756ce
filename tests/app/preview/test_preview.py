"""`/data/...` of a dataset that a conversion is writing, asked on a real socket."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.preview import is_allowed, layer_of_run
from app.server import create_app, running
from converters.claim import Claim, Request, claim
from converters.options import ConvertOptions, ServeOptions
from converters.storage.storage import open_storage
from converters.volumes.plan import Plan, make_plan, volume_info
from converters.volumes.preview import preview_chunk
from formats.grid import chunk_name
from formats.info import encode_volume_info
from tests.app.data.asking import Served, write_files

OPTIONS = {"axes": "xyz", "resolution": (8, 8, 8), "chunk_size": (16, 16, 16), "voxel_offset": (-5, 3, 0)}
Writing = Callable[..., tuple[Claim, Plan]]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("source") / "volume.npy"
    np.save(place, np.random.default_rng(1).integers(0, 200, (40, 30, 20)).astype(np.uint8))
    return place


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("served")
    with running(create_app(root)) as url:
        yield Served(url, root)


@pytest.fixture
def writing(site: Served, source: Path) -> Iterator[Writing]:
    """Hold a dataset below the root as a conversion does that has just begun."""
    with ExitStack() as held:

        def begin(dataset: Path, *, overwrite: bool = False, **more: Any) -> tuple[Claim, Plan]:
            options = ConvertOptions(**OPTIONS, **more)
            plan = make_plan(source, options)
            told = options.model_dump(mode="json", exclude={"memory", "executor", "overwrite"})
            request = Request("0", str(source), plan.source.fingerprint(), told)
            return held.enter_context(claim(dataset, request, overwrite=overwrite)), plan

        yield begin


def info_without_shards(plan: Plan) -> dict[str, Any]:
    info = json.loads(encode_volume_info(volume_info(plan)))
    for scale in info["scales"]:
        scale.pop("sharding", None)
    return info


def chunk_path(plan: Plan, position: int, cell: tuple[int, int, int]) -> str:
    scale = plan.scales[position]
    return f"{scale.key}/{chunk_name(scale.grid.chunk_box(cell))}"


def asked(site: Served, target: str, method: str = "GET", **headers: str) -> Any:
    """Ask as the viewer does: again and again where it is told to come back."""
    deadline = time.monotonic() + 60
    while (answer := site.ask(target, method, **headers)).status == 503:
        assert_for_the_viewer_and_no_cache(answer)
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return answer


def assert_for_the_viewer_and_no_cache(answer: Any) -> None:
    assert answer.headers.get_all("Access-Control-Allow-Origin") == ["*"]
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("layout", ["nested", "sharded"])
def test_the_info_is_that_of_the_plan_without_shards(site: Served, writing: Writing, layout: str) -> None:
    _, plan = writing(site.root / f"lab/{layout}", layout=layout)
    answer = asked(site, f"/data/lab/{layout}/info")
    assert answer.status == 200
    assert_for_the_viewer_and_no_cache(answer)
    assert json.loads(answer.body) == {**info_without_shards(plan), "preview": 0}


@pytest.mark.parametrize("layout", ["nested", "flat", "sharded"])
def test_what_is_not_written_yet_is_computed_and_what_is_comes_from_there(site: Served, writing: Writing, layout: str) -> None:
    held, plan = writing(site.root / f"lab/chunks-{layout}", layout=layout)
    for position, scale in enumerate(plan.scales):
        for cell in scale.grid.cells():
            answer = asked(site, f"/data/lab/chunks-{layout}/{chunk_path(plan, position, cell)}")
            assert (answer.status, answer.body) == (200, preview_chunk(plan, position, cell))
            assert_for_the_viewer_and_no_cache(answer)
    name = chunk_path(plan, 0, (0, 0, 0))
    if layout != "sharded":
        open_storage(held.incoming, layout).put(name, b"as it was written", compressible=True)
        answer = asked(site, f"/data/lab/chunks-{layout}/{name}", Accept_Encoding="gzip")
        assert (answer.status, answer.decoded) == (200, b"as it was written")
    head = asked(site, f"/data/lab/chunks-{layout}/{chunk_path(plan, 1, (0, 0, 0))}", "HEAD")
    assert (head.status, head.body, int(head.headers["Content-Length"]) > 0) == (200, b"", True)


def test_what_the_dataset_will_not_have_is_absent(site: Served, writing: Writing) -> None:
    _, plan = writing(site.root / "absent")
    key = plan.scales[0].key
    names = (
        f"{key}/0-16_0-16_0-16",
        f"{key}/900-916_0-16_0-16",
        "9_9_9/-5-11_3-19_0-16",
        "mesh/info",
        "provenance",
        f"{key}/info",
    )
    for name in (*names, ".glassine/begun.json", f"../absent/{chunk_path(plan, 0, (0, 0, 0))}"):
        assert asked(site, f"/data/absent/{name}").status == 404, name


def test_while_a_dataset_is_replaced_the_old_one_is_served(site: Served, writing: Writing) -> None:
    _, plan = writing(site.root / "elsewhere")
    old = encode_volume_info(volume_info(plan))
    write_files(site.root, {"old/info": old})
    writing(site.root / "old", overwrite=True)
    assert asked(site, "/data/old/info").body == old
    assert asked(site, f"/data/old/{chunk_path(plan, 0, (0, 0, 0))}").status == 404


def test_a_run_that_is_not_at_work_is_not_believed(site: Served, source: Path, writing: Writing) -> None:
    held, _ = writing(site.root / "live")
    private = held.dataset / ".glassine"
    files = {f"dead/.glassine/{name}": (private / name).read_bytes() for name in ("begun.json", "lock")}
    write_files(site.root, {**files, "dead/.glassine/run-0/x": b""})
    assert asked(site, "/data/live/info").status == 200
    assert asked(site, "/data/dead/info").status == 404


def test_a_run_of_another_user_is_not_believed(site: Served, writing: Writing) -> None:
    held, _ = writing(site.root / "others")
    if os.geteuid() != 0:
        pytest.skip("only the superuser can give a file away")
    os.chown(held.dataset / ".glassine/begun.json", 12345, -1)
    assert asked(site, "/data/others/info").status == 404


def test_a_run_outside_of_the_root_is_not_shown(site: Served, writing: Writing, tmp_path: Path) -> None:
    writing(tmp_path / "outside")
    (site.root / "link").symlink_to(tmp_path / "outside")
    assert asked(site, "/data/link/info").status == 404


def test_a_run_of_another_command_is_not_shown(site: Served, source: Path) -> None:
    with claim(site.root / "labels", Request("0", str(source), {}, {"threshold": "otsu"}), overwrite=False):
        assert asked(site, "/data/labels/info").status == 404


def test_the_generation_grows_with_each_doubling_of_the_blocks_that_are_done(site: Served, writing: Writing) -> None:
    held, _ = writing(site.root / "generations")
    generations = []
    for block in range(9):
        generations.append(json.loads(asked(site, "/data/generations/info").body)["preview"])
        held.journal.begin("stage 0", (block, 0, 0))
        held.journal.add("stage 0", (block, 0, 0), {})
    assert generations == [0, 1, 2, 2, 3, 3, 3, 3, 4]


def test_a_link_can_be_made_to_what_is_being_written(site: Served, writing: Writing, source: Path) -> None:
    _, plan = writing(site.root / "lab/linked")
    layer = layer_of_run(site.root, "lab/linked")
    assert layer is not None
    assert (layer.name, layer.info, layer.record.source) == ("lab/linked", volume_info(plan), str(source))
    assert 0 <= layer.record.contrast[0].low < layer.record.contrast[0].high < 200
    for name in ("", "lab", "lab/linked/", "../lab/linked", "lab/nothing", "lab/linked/.glassine"):
        assert layer_of_run(site.root, name) is None


def test_a_server_that_may_not_read_sources_shows_nothing(site: Served, writing: Writing) -> None:
    writing(site.root / "unread")
    with running(create_app(site.root, previewing=False)) as url:
        assert Served(url, site.root).ask("/data/unread/info").status == 404
    assert asked(site, "/data/unread/info").status == 200


@pytest.mark.parametrize(
    ("host", "preview", "expected"),
    [("127.0.0.1", "auto", True), ("::1", "auto", True), ("localhost", "auto", True), ("0.0.0.0", "auto", False),
     ("10.0.0.7", "auto", False), ("lab.example", "auto", False), ("0.0.0.0", "on", True), ("127.0.0.1", "off", False)],
)  # fmt: skip
def test_sources_are_read_for_this_machine_alone_unless_the_option_says_so(host: str, preview: Any, expected: bool) -> None:
    assert is_allowed(ServeOptions(host=host, preview=preview)) is expected


def test_chunks_of_a_dataset_that_was_sharded_in_the_end_are_found_by_name(site: Served, tmp_path: Path, source: Path) -> None:
    from converters.volumes.conversion import convert

    options = ConvertOptions(**OPTIONS, layout="sharded", executor="serial")
    convert(source, site.root / "done", options, lambda progress: None)
    plan = make_plan(source, options)
    for cell in plan.scales[0].grid.cells():
        answer = asked(site, f"/data/done/{chunk_path(plan, 0, cell)}", Accept_Encoding="gzip")
        assert (answer.status, answer.decoded) == (200, preview_chunk(plan, 0, cell))
    assert "sharding" in asked(site, "/data/done/info").body.decode()
    assert os.listdir(site.root / "done" / plan.scales[0].key)[0].endswith(".shard")
