import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.errors import DatasetError
from converters.record import Contrast, Record, encode_record, read_record

FULL = Record(
    glassine="0.1.0",
    source="/data/brain.nii.gz",
    fingerprint={"brain.nii.gz": {"size": 12, "mtime_ns": 1795270671637117481}},
    options={"encoding": "auto", "chunk_size": [64, 64, 64], "resolution": None},
    resolution=(1e6, 0.1 + 0.2, 40.0),
    affine=((1.0, 0.0, 0.0, -90.5), (0.0, -1.0, 0.0, 7.0), (0.0, 0.0, 1 / 3, 0.0)),
    transform=((1.0, 0.0, 0.0, -91.0), (0.0, -1.0, 0.0, 7.5), (0.0, 0.0, 1 / 3, -0.5)),
    world="RAS",
    contrast=(Contrast(1.5, 200.25, 0.0, 255.0), Contrast(-1.0, 1.0, -2.0, 2.0)),
    counts={"chunks": 7, "empty_chunks": 1, "stored_bytes": 4321},
    largest_error=1e-9,
)


def write(folder: Path, data: bytes) -> Path:
    (folder / ".glassine").mkdir(exist_ok=True)
    (folder / ".glassine/record.json").write_bytes(data)
    return folder


@pytest.mark.parametrize("record", [FULL, Record("0.1.0", "a.npy", {}, {}, (4.0, 4.0, 40.0)), replace(FULL, affine=None)])
def test_round_trip(tmp_path: Path, record: Record) -> None:
    assert read_record(write(tmp_path, encode_record(record))) == record


def test_a_written_record_by_hand(tmp_path: Path) -> None:
    text = """{"glassine": "9.9", "source": "s", "fingerprint": {}, "options": {"a": [1]}, "resolution": [4, 4, 40],
        "affine": null, "transform": null, "contrast": [{"low": 1, "high": 2, "minimum": 0, "maximum": 3}]}"""
    found = read_record(write(tmp_path, text.encode()))
    assert found == Record("9.9", "s", {}, {"a": [1]}, (4.0, 4.0, 40.0), contrast=(Contrast(1.0, 2.0, 0.0, 3.0),))


def test_the_same_record_gives_the_same_bytes() -> None:
    turned = replace(FULL, counts=dict(reversed(FULL.counts.items())))
    assert encode_record(turned) == encode_record(FULL)


def test_no_record(tmp_path: Path) -> None:
    assert read_record(tmp_path) is None


MEMBERS = json.loads(encode_record(FULL))

DAMAGED = {
    "nothing": b"",
    "no JSON": b"{",
    "no text": b"\xff\xfe\x00",
    "a list": b"[]",
    "a word": b'"record"',
    "deep": b"[" * 200_000,
    "unknown member": json.dumps({**MEMBERS, "glasine": 1}).encode(),
    "no resolution": json.dumps({name: value for name, value in MEMBERS.items() if name != "resolution"}).encode(),
    "two lengths": json.dumps({**MEMBERS, "resolution": [1, 2]}).encode(),
    "words for lengths": json.dumps({**MEMBERS, "resolution": ["a", "b", "c"]}).encode(),
    "two rows": json.dumps({**MEMBERS, "affine": MEMBERS["affine"][:2]}).encode(),
    "three columns": json.dumps({**MEMBERS, "affine": [row[:3] for row in MEMBERS["affine"]]}).encode(),
    "words in a row": json.dumps({**MEMBERS, "transform": ["abcd", "abcd", "abcd"]}).encode(),
    "contrast of words": json.dumps({**MEMBERS, "contrast": [{**MEMBERS["contrast"][0], "low": "dark"}]}).encode(),
    "contrast of numbers": json.dumps({**MEMBERS, "contrast": [1]}).encode(),
    "half a contrast": json.dumps({**MEMBERS, "contrast": [{"low": 1}]}).encode(),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_record_is_told_in_one_sentence(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DatasetError) as caught:
        read_record(write(tmp_path, data))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/.glassine/record.json: not a record of glassine (")
    assert message.endswith("; convert the dataset again with --overwrite")


def test_a_record_that_is_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / ".glassine/record.json").mkdir(parents=True)
    with pytest.raises(DatasetError, match="not a record of glassine"):
        read_record(tmp_path)


@given(position=st.integers(0, len(encode_record(FULL)) - 1), byte=st.integers(0, 255), cut=st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_damaged_byte_gives_a_record_or_the_error(
    tmp_path_factory: pytest.TempPathFactory, position: int, byte: int, cut: bool
) -> None:
    data = bytearray(encode_record(FULL))
    data[position] = byte
    dataset = write(tmp_path_factory.getbasetemp(), bytes(data[: position + 1] if cut else data))
    try:
        found = read_record(dataset)
    except DatasetError:
        return
    assert isinstance(found, Record)
    assert all(isinstance(grey, float) for contrast in found.contrast for grey in vars(contrast).values())
