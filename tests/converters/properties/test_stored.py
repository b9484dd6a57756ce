"""The properties that a dataset has."""

from pathlib import Path

import pytest

from converters.errors import DatasetError
from converters.properties.merging import named
from converters.properties.stored import StoredProperties
from formats.gzip import compress
from formats.segment_properties import SegmentProperties, encode_labels


def test_none_are_named(tmp_path: Path) -> None:
    assert StoredProperties(tmp_path, None).read() == SegmentProperties()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    member = StoredProperties(tmp_path, None).write(named({5: "five"}))
    assert member == "segment_properties"
    assert StoredProperties(tmp_path, member).read() == named({5: "five"})
    assert [path.name for path in (tmp_path / member).iterdir()] == ["info"]


def test_those_of_another_tool_are_read_where_they_lie_and_not_changed(tmp_path: Path) -> None:
    (tmp_path / "names").mkdir()
    (tmp_path / "names/info.gz").write_bytes(compress(encode_labels({5: "five"})))
    stored = StoredProperties(tmp_path, "names")
    assert stored.read() == named({5: "five"})
    stored.write(named({6: "six"}))
    assert stored.read() == named({5: "five"})


@pytest.mark.parametrize(("member", "elsewhere"), [("gs://bucket/names", True), ("../names", False), (None, False)])
def test_those_at_a_url_are_elsewhere(member: str | None, elsewhere: bool, tmp_path: Path) -> None:
    assert StoredProperties(tmp_path, member).is_elsewhere is elsewhere


def test_properties_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as refused:
        StoredProperties(tmp_path, "names").read()
    assert str(refused.value) == (
        f"{tmp_path}: its info names segment properties, names, that are not there; take the member segment_properties out of "
        "the info, or put them back"
    )


def test_properties_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "names").mkdir()
    (tmp_path / "names/info").write_text("{")
    with pytest.raises(DatasetError, match="names: info: not JSON in UTF-8"):
        StoredProperties(tmp_path, "names").read()
