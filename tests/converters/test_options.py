from typing import Any

import pytest
from pydantic import ValidationError

from converters.options import ConvertOptions, ServeOptions, byte_count

MEMORY = [
    ("1GB", 1_000_000_000),
    ("4GB", 4_000_000_000),
    ("512MiB", 536_870_912),
    ("1000000", 1_000_000),
    ("1.5G", 1_500_000_000),
    ("1.5GiB", 1_610_612_736),
    ("2TB", 2_000_000_000_000),
    ("1TiB", 1_099_511_627_776),
    ("64k", 64_000),
    ("64KiB", 65_536),
    ("64K", 64_000),
    ("7B", 7),
    ("3 GB", 3_000_000_000),
    ("800M", 800_000_000),
]


@pytest.mark.parametrize(("text", "count"), MEMORY)
def test_byte_count(text: str, count: int) -> None:
    assert byte_count(ConvertOptions(memory=text).memory) == count


@pytest.mark.parametrize("text", ["", "much", "-1GB", "1e9", "4 gigabytes", "4PB", "GB", "1.GB", ".5GB", "1GBB", "1iB", "4GB\n"])
def test_other_memory_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="memory"):
        ConvertOptions(memory=text)


@pytest.mark.parametrize(
    ("name", "given", "taken"),
    [
        ("chunk_size", "64,64,32", (64, 64, 32)),
        ("chunk_size", " 64, 64 ,32 ", (64, 64, 32)),
        ("chunk_size", [1, 2, 2048], (1, 2, 2048)),
        ("chunk_size", None, None),
        ("voxel_offset", "-5,0,17", (-5, 0, 17)),
        ("voxel_offset", (-5, 0, 17), (-5, 0, 17)),
        ("resolution", "4,4.5,1e3", (4.0, 4.5, 1000.0)),
        ("axes", "zyxc", "zyxc"),
        ("executor", "serial", "serial"),
        ("executor", "processes:12", "processes:12"),
        ("executor", "tcp://10.0.0.1:8786", "tcp://10.0.0.1:8786"),
        ("memory", None, None),
        ("layout", "flat", "flat"),
        ("scales", 32, 32),
    ],
)
def test_what_is_taken(name: str, given: Any, taken: Any) -> None:
    assert getattr(ConvertOptions.model_validate({name: given}), name) == taken


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("chunk_size", "64,64"),
        ("chunk_size", "64,64,64,64"),
        ("chunk_size", "64,64,0"),
        ("chunk_size", "64,64,2049"),
        ("chunk_size", "64;64;64"),
        ("chunk_size", "64,64,1.5"),
        ("chunk_size", ""),
        ("voxel_offset", "1,2"),
        ("voxel_offset", "1,2,2.5"),
        ("resolution", "4,4,0"),
        ("resolution", "4,4,-1"),
        ("resolution", "4,4,nan"),
        ("resolution", "4,4,inf"),
        ("resolution", "8"),
        ("jpeg_quality", 0),
        ("jpeg_quality", 101),
        ("scales", 0),
        ("scales", 33),
        ("channel", -1),
        ("time", -1),
        ("axes", "z"),
        ("axes", "zyxtcc"),
        ("axes", "zyq"),
        ("executor", "threads"),
        ("executor", "processes:0"),
        ("executor", "processes:"),
        ("executor", "serial:2"),
        ("executor", "tcp://10.0.0.1"),
        ("executor", "http://10.0.0.1:8786"),
        ("type", "labels"),
        ("encoding", "gzip"),
        ("layout", "shards"),
        ("chunksize", "64,64,64"),
    ],
)
def test_what_is_refused(name: str, given: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        ConvertOptions.model_validate({name: given})
    assert name in str(caught.value)


@pytest.mark.parametrize(("name", "given"), [("port", -1), ("port", 65536), ("workers", 0), ("workers", 65), ("prot", 80)])
def test_what_serve_refuses(name: str, given: Any) -> None:
    with pytest.raises(ValidationError, match=name):
        ServeOptions.model_validate({name: given})


def test_options_do_not_change() -> None:
    options = ConvertOptions()
    with pytest.raises(ValidationError, match="frozen"):
        options.memory = "2GB"  # type: ignore[misc]


def test_options_come_back_from_their_json() -> None:
    options = ConvertOptions(chunk_size=(64, 64, 32), resolution=(4.0, 4.0, 40.0), voxel_offset=(-1, 2, 3), axes="zyx")
    assert ConvertOptions.model_validate(options.model_dump(mode="json")) == options
