"""What meshes and skeletons have in common when they come into a dataset."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.children import record_path, run_path
from converters.errors import DamagedError, DatasetError, OptionError
from converters.meshes.record import MESHES
from converters.options import ConvertOptions, MeshOptions
from converters.publishing import claim_child, finish_publishing, request_for
from converters.skeletons.record import SKELETONS
from converters.volumes.conversion import convert
from formats.info import parse_volume_info

CHILDREN = pytest.mark.parametrize("child", [MESHES, SKELETONS], ids=lambda child: child.member)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    np.save(tmp_path / "labels.npy", np.ones((9, 9, 9), np.uint32))
    told = {"axes": "xyz", "resolution": (8, 8, 8), "executor": "serial", "layout": "flat"}
    convert(tmp_path / "labels.npy", tmp_path / "d", ConvertOptions.model_validate(told), lambda progress: None)
    return tmp_path / "d"


def stop(dataset: Path, child: Any, error: Exception) -> None:
    with claim_child(dataset, child, {"asked": 1}) as held:
        (held.folder / "1").write_bytes(b"one")
        raise error


@CHILDREN
@pytest.mark.parametrize("error", [OptionError, DatasetError], ids=lambda error: error.__name__)
def test_a_run_that_the_same_request_cannot_get_past_is_dropped(child: Any, error: Any, dataset: Path) -> None:
    with pytest.raises(error, match="wrong"):
        stop(dataset, child, error("wrong"))
    assert not run_path(dataset, child.member).exists()


@CHILDREN
def test_what_another_try_may_get_past_is_kept_for_the_same_request_alone(child: Any, dataset: Path) -> None:
    with pytest.raises(DamagedError):
        stop(dataset, child, DamagedError("one block"))
    with claim_child(dataset, child, {"asked": 1}) as held:
        assert (held.folder / "1").read_bytes() == b"one"
    assert not run_path(dataset, child.member).exists()
    with pytest.raises(DamagedError):
        stop(dataset, child, DamagedError("one block"))
    with claim_child(dataset, child, {"asked": 2}) as held:
        assert list(held.folder.iterdir()) == []


@CHILDREN
def test_files_that_a_kill_left_beside_the_info_and_the_record_go(child: Any, dataset: Path) -> None:
    plain = replace(child, encode=lambda record: json.dumps(record).encode())
    private = dataset / ".glassine"
    left = [dataset / ".info.0a1.tmp", private / f".{child.member}.json.0a1.tmp"]
    others = [dataset / ".infos.0a1.tmp", private / ".record.json.0a1.tmp"]
    with claim_child(dataset, plain, {"asked": 1}) as held:
        for path in (*left, *others):
            path.write_bytes(b"{")
        held.publish(b"{}", {"what": "a child"})
    assert [path for path in (*left, *others) if path.exists()] == others
    assert record_path(dataset, child.member).read_bytes() == b'{"what": "a child"}'
    assert getattr(parse_volume_info((dataset / "info").read_bytes()), child.member) == child.member
    assert (dataset / child.member / "info").read_bytes() == b"{}"
    assert not run_path(dataset, child.member).exists()


@CHILDREN
def test_nothing_is_to_be_finished_where_no_run_was(child: Any, dataset: Path) -> None:
    before = {path: path.read_bytes() for path in dataset.rglob("*") if path.is_file()}
    finish_publishing(dataset, child.member)
    assert {path: path.read_bytes() for path in dataset.rglob("*") if path.is_file()} == before


def test_a_request_tells_volumes_in_one_place_apart(dataset: Path) -> None:
    info = parse_volume_info((dataset / "info").read_bytes())
    options = MeshOptions(executor="serial", memory="1GB", overwrite=True)
    request = request_for(dataset, info, options)
    assert request == json.loads(json.dumps(request))
    assert request_for(dataset, replace(info, mesh="mesh", skeletons="skeletons"), MeshOptions()) == request
    moved = replace(info, scales=(replace(info.scales[0], voxel_offset=(1, 0, 0)), *info.scales[1:]))
    assert request_for(dataset, moved, options) != request
    assert request_for(dataset, info, MeshOptions(max_error=9)) != request
    record = dataset / ".glassine/record.json"
    record.write_bytes(record.read_bytes().replace(b"labels.npy", b"others.npy"))
    assert request_for(dataset, info, options) != request
