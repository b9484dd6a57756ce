"""`/data/...` on a real socket: requests x files, hostile paths, errors, streams."""

import asyncio
import email
import errno
import gzip
import logging
import os
import random
import socket
import sys
import threading
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from email.utils import formatdate, parsedate_to_datetime
from http.client import IncompleteRead
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.data import body, lookup, route
from app.preview import previewed_app

Served = Any  # of conftest.py, which tests cannot import
Serve = Callable[[dict[str, bytes]], Served]

PLAIN = bytes(range(256)) * 20
SECRET = b"nobody may read this"
SIZE = len(PLAIN)

PLAIN_OBJECTS = [
    "flat/0-64_0-64_0-64",
    "flat/-64-0_-128--64_-3-61",
    "nested/0-64_0-64_0-64",
    "nested/-64-0_-128--64_-3-61",
    "both/0-64_0-64_0-64",
    "both_flat/0-64_0-64_0-64",
    "shards/0a.shard",
    "mesh/12:0",
    "mesh/14:0",
    "mesh/15:0",
    "mesh/a%20b%25c%3Fd",
    "mesh/%C3%A5%e2%82%ac",
    "mesh/%252e%252e",
    "annex/0-64_0-64_0-64",
]
PACKED_OBJECTS = [
    "flat_gz/0-64_0-64_0-64",
    "nested_gz/0-64_0-64_0-64",
    "nested_gz/-64-0_-128--64_-3-61",
    "deep/er/8_8_40/0-64_0-64_0-64",
    "mesh/13:0",
    "mesh/16:0",
    "link/0-64_0-64_0-64",
]
BROTLI_OBJECTS = ["flat_br/0-64_0-64_0-64", "nested_br/0-64_0-64_0-64", "mesh/17:0"]


@pytest.fixture(params=["sendfile", "copy", "call"], scope="module", autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test runs by three ways: at once with sendfile(2) or with a copy, and as any ASGI server calls the application."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "sendfile":
            patch.setattr(body, "_LEAST_SENDFILE_BYTES", 1)
        elif request.param == "copy":
            patch.setattr(body, "_is_cached", lambda *arguments: False)
        else:
            patch.setattr(route.DataApp, "at_once", lambda *arguments: None)
        yield


def assert_readable_by_the_viewer(answer: Any) -> None:
    assert answer.headers.get_all("Access-Control-Allow-Origin") == ["*"]
    exposed = {name.strip() for name in answer.headers["Access-Control-Expose-Headers"].split(",")}
    assert {"content-range", "content-encoding", "content-length", "accept-ranges", "etag"} <= exposed


# What is there ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", ["gzip, deflate, br, zstd", "gzip;q=0", "br", "identity", None])
@pytest.mark.parametrize("name", PLAIN_OBJECTS + PACKED_OBJECTS)
def test_a_file_has_the_same_bytes_in_every_layout(site: Served, name: str, accept: str | None) -> None:
    answer = site.get(name) if accept is None else site.get(name, Accept_Encoding=accept)
    assert (answer.status, answer.decoded) == (200, PLAIN)
    is_packed = name in PACKED_OBJECTS
    assert answer.headers["Content-Encoding"] == ("gzip" if is_packed and accept and accept.startswith("gzip,") else None)
    assert answer.headers["Vary"] == ("accept-encoding" if is_packed else None)
    assert answer.headers["Accept-Ranges"] == (None if is_packed else "bytes")
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert_readable_by_the_viewer(answer)


@pytest.mark.parametrize("accept", ["gzip, deflate, br, zstd", "br", "*", "gzip", "br;q=0", None])
@pytest.mark.parametrize("name", BROTLI_OBJECTS)
def test_brotli_is_sent_as_it_is_stored_or_unpacked(site: Served, name: str, accept: str | None) -> None:
    answer = site.get(name) if accept is None else site.get(name, Accept_Encoding=accept)
    assert (answer.status, answer.decoded) == (200, PLAIN)
    assert answer.headers["Content-Encoding"] == ("br" if accept in ("gzip, deflate, br, zstd", "br", "*") else None)
    assert answer.headers["Vary"] == "accept-encoding"
    assert answer.headers["Accept-Ranges"] is None
    assert answer.headers["Content-Length"] == str(len(answer.body))
    again = site.get(name, If_None_Match=answer.headers["ETag"], **({"Accept_Encoding": accept} if accept else {}))
    assert (again.status, again.body) == (304, b"")
    assert_readable_by_the_viewer(answer)


@pytest.mark.parametrize("name", ["info", "packed/info", "link_to_info"])
def test_info_is_json_and_asked_for_again(site: Served, name: str) -> None:
    answer = site.get(name)
    assert (answer.status, answer.decoded) == (200, b'{"@type": "neuroglancer_multiscale_volume"}')
    assert answer.headers["Content-Type"] == ("application/octet-stream" if name == "link_to_info" else "application/json")
    assert answer.headers["Cache-Control"] == "no-cache"


def test_a_stored_gz_is_a_file_of_its_own_name(site: Served) -> None:
    answer = site.get("nested_gz/0-64/0-64/0-64.gz", Accept_Encoding="gzip")
    assert (answer.status, answer.headers["Content-Encoding"], gzip.decompress(answer.body)) == (200, None, PLAIN)


def test_an_empty_file_is_no_missing_one(site: Served) -> None:
    answer = site.get("empty/0-64_0-64_0-64")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")


@pytest.mark.parametrize("suffix", ["?v=1", "?a=/../b", "?"])
def test_a_query_changes_nothing(site: Served, suffix: str) -> None:
    assert site.get(f"mesh/12:0{suffix}").body == PLAIN


@pytest.mark.parametrize("accept", ["gzip", "identity"])
@pytest.mark.parametrize(
    "name", [*PLAIN_OBJECTS, *PACKED_OBJECTS, "info", "empty/0-64_0-64_0-64", "nothing", "folders/0-64_0-64_0-64"]
)
def test_head_says_what_get_says(site: Served, name: str, accept: str) -> None:
    get, head = (site.ask(f"/data/lab/vol/{name}", method, Accept_Encoding=accept) for method in ("GET", "HEAD"))
    assert (head.status, head.body) == (get.status, b"")
    for answer in (get, head):
        del answer.headers["Date"]
    assert head.headers.items() == get.headers.items()


def test_names_that_are_no_unicode_are_found(served: Serve) -> None:
    if sys.platform != "linux":
        pytest.skip("file names are Unicode here")
    name = b"lab/\xff\xfe%41"
    here = served({"lab/x": b"x"})
    (here.root / os.fsdecode(name)).write_bytes(b"found")
    assert here.ask(b"/data/" + quote_from_bytes(name).encode()).body == b"found"


def test_a_dataset_that_is_the_served_folder_itself(served: Serve) -> None:
    here = served({"info": b"{}", "s/0-64/0-64/0-64": b"chunk"})
    assert here.ask("/data/info").body == b"{}"
    assert here.ask("/data/s/0-64_0-64_0-64").body == b"chunk"


# What the client has already ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mesh/12:0", "nested_gz/0-64_0-64_0-64", "info"])
@pytest.mark.parametrize("accept", ["gzip", "identity"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_unchanged_is_not_sent_again(site: Served, name: str, accept: str, method: str) -> None:
    first = site.get(name, Accept_Encoding=accept)
    for condition in (
        {"If_None_Match": first.headers["ETag"]},
        {"If_None_Match": f'"x", W/{first.headers["ETag"]}'},
        {"If_None_Match": "*"},
        {"If_Modified_Since": first.headers["Last-Modified"]},
    ):
        again = site.ask(f"/data/lab/vol/{name}", method, Accept_Encoding=accept, **condition)
        assert (again.status, again.body) == (304, b"")
        assert again.headers["Content-Length"] is None
        for header in ("ETag", "Vary", "Cache-Control", "Last-Modified"):
            assert again.headers[header] == first.headers[header]
        assert_readable_by_the_viewer(again)


def test_each_encoding_has_a_tag_of_its_own(site: Served) -> None:
    gzipped, decoded = (site.get("nested_gz/0-64_0-64_0-64", Accept_Encoding=accept) for accept in ("gzip", "br"))
    assert gzipped.headers["ETag"] != decoded.headers["ETag"]
    answer = site.get("nested_gz/0-64_0-64_0-64", Accept_Encoding="br", If_None_Match=gzipped.headers["ETag"])
    assert (answer.status, answer.body) == (200, PLAIN)


def test_what_was_replaced_is_sent_anew(served: Serve) -> None:
    here = served({"v/0-64_0-64_0-64": b"old"})
    first = here.ask("/data/v/0-64_0-64_0-64")
    replacement = here.root / "new"
    replacement.write_bytes(b"new")
    os.utime(replacement, ns=(10**18, (here.root / "v" / "0-64_0-64_0-64").stat().st_mtime_ns))
    replacement.rename(here.root / "v" / "0-64_0-64_0-64")
    again = here.ask("/data/v/0-64_0-64_0-64", If_None_Match=first.headers["ETag"])
    assert (again.status, again.body) == (200, b"new")
    (here.root / "v" / "0-64_0-64_0-64").unlink()
    assert here.ask("/data/v/0-64_0-64_0-64", If_None_Match=first.headers["ETag"]).status == 404


def test_a_date_says_whether_the_file_is_newer(site: Served) -> None:
    modified = parsedate_to_datetime(site.get("mesh/12:0").headers["Last-Modified"]).timestamp()
    later, earlier = (formatdate(modified + shift, usegmt=True) for shift in (1, -1))
    assert site.get("mesh/12:0", If_Modified_Since=later).status == 304
    assert site.get("mesh/12:0", If_Modified_Since=earlier).status == 200


# Ranges -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLAIN_OBJECTS)
@pytest.mark.parametrize(
    ("requested", "start", "end"),
    [("0-0", 0, 1), ("16-31", 16, 32), ("100-", 100, SIZE), ("-7", SIZE - 7, SIZE), ("5119-9999", 5119, SIZE)],
)
def test_a_range_is_exact(site: Served, name: str, requested: str, start: int, end: int) -> None:
    answer = site.get(name, Range=f"bytes={requested}", Accept_Encoding="gzip")
    assert (answer.status, answer.body) == (206, PLAIN[start:end])
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert answer.headers["Content-Length"] == str(end - start)
    assert answer.headers["Content-Encoding"] is None
    assert_readable_by_the_viewer(answer)


@given(st.integers(0, 2 * SIZE), st.integers(0, 2 * SIZE))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_range_is_exact_or_416(site: Served, first: int, length: int) -> None:
    answer = site.get("mesh/12:0", Range=f"bytes={first}-{first + length}")
    expected = PLAIN[first : first + length + 1]
    if expected:
        assert (answer.status, answer.body) == (206, expected)
    else:
        assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{SIZE}")


@pytest.mark.parametrize("requested", [f"{SIZE}-", f"{SIZE}-{SIZE}", "-0", "5-1", "abc", ""])
def test_a_range_that_cannot_be_had_is_416(site: Served, requested: str) -> None:
    answer = site.get("mesh/12:0", Range=f"bytes={requested}")
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{SIZE}")
    assert answer.headers["Cache-Control"] == "no-store"
    assert_readable_by_the_viewer(answer)


def test_several_ranges_come_as_multipart(site: Served) -> None:
    answer = site.get("mesh/12:0", Range="bytes=0-4, 100-199, -3")
    assert answer.status == 206
    message = email.message_from_bytes(f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode() + answer.body)
    parts = message.get_payload()
    assert [part.get_payload(decode=True) for part in parts] == [PLAIN[:5], PLAIN[100:200], PLAIN[-3:]]
    assert parts[1]["Content-Range"] == f"bytes 100-199/{SIZE}"
    assert answer.headers["Content-Range"] is None
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert_readable_by_the_viewer(answer)


@pytest.mark.parametrize("accept", ["gzip", "identity"])
@pytest.mark.parametrize("name", PACKED_OBJECTS)
def test_a_range_of_what_is_stored_as_gzip_is_the_whole(site: Served, name: str, accept: str) -> None:
    answer = site.get(name, Range="bytes=0-15", Accept_Encoding=accept)
    assert (answer.status, answer.decoded, answer.headers["Accept-Ranges"]) == (200, PLAIN, None)
    assert answer.headers["Content-Range"] is None


def test_a_range_is_for_get_only(site: Served) -> None:
    answer = site.ask("/data/lab/vol/mesh/12:0", "HEAD", Range="bytes=0-4")
    assert (answer.status, answer.headers["Content-Length"]) == (200, str(SIZE))


def test_if_range_gives_the_part_of_this_state_or_the_whole(site: Served) -> None:
    first = site.get("mesh/12:0")
    for condition in (first.headers["ETag"], first.headers["Last-Modified"]):
        assert site.get("mesh/12:0", Range="bytes=0-4", If_Range=condition).body == PLAIN[:5]
    for condition in ('"other"', f"W/{first.headers['ETag']}", "Sun, 06 Nov 1994 08:49:37 GMT", "x"):
        answer = site.get("mesh/12:0", Range="bytes=0-4", If_Range=condition)
        assert (answer.status, answer.body) == (200, PLAIN)


def test_what_is_unchanged_is_304_before_it_is_a_range(site: Served) -> None:
    tag = site.get("mesh/12:0").headers["ETag"]
    assert site.get("mesh/12:0", Range="bytes=0-4", If_None_Match=tag).status == 304
    assert site.get("mesh/12:0", Range="bytes=99999-", If_None_Match=tag).status == 304


# What is not there --------------------------------------------------------------------------------------------------------------

ABSENT = [
    "nothing", "nested/64-128_0-64_0-64", "info/x", "nested", "nested/", "", "nested/0-64/", "mesh/12:0/", "gone", "folder/",
    "x" * 300, "y/" * 2500 + "z",
]  # fmt: skip
HOSTILE = [
    "../../../outside/secret", "%2e%2e/%2e%2e/%2e%2e/outside/secret", "%252e%252e/secret", "..%2f..%2f..%2foutside/secret",
    "..%5c..%5c..%5coutside%5csecret", "..\\..\\..\\outside\\secret", "nested/..\\info", "info%00", "info%00.gz", "%00",
    "/../../../outside/secret", "//etc/passwd", "/etc/passwd", "%2fetc%2fpasswd", "./info", "nested/./../info",
    "nested//0-64/0-64/0-64",
    "out/secret", "out/0-64_0-64_0-64", "secret", "relative_secret", "beside", "device", "record", "out",
    ".glassine/record.json", "%2eglassine/record.json", ".glassine", "nested/.hidden/0-64", "nested/0-64/0-64/.0-64.7.tmp",
    "folder/.gz", "folder/%2egz", "%c0%ae%c0%ae/secret", "%c0%af%c0%af", "%uff0e%uff0e/secret", "%", "%2", "%zz",
]  # fmt: skip


@pytest.mark.parametrize("name", ABSENT)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_not_there_is_404_that_no_cache_keeps(site: Served, name: str, method: str) -> None:
    answer = site.ask(f"/data/lab/vol/{name}", method)
    assert (answer.status, answer.headers["Cache-Control"]) == (404, "no-store")
    assert answer.headers["ETag"] is None
    assert answer.headers["Content-Length"] == "23"
    assert_readable_by_the_viewer(answer)


@pytest.mark.parametrize("target", ["/data", "/data/", "/data/lab", "/data/lab/", "/data/lab/vol", "/data/lab/vol/"])
def test_a_folder_is_no_file(site: Served, target: str) -> None:
    assert site.ask(target).status == 404


@pytest.mark.parametrize("accept", ["gzip", "identity"])
@pytest.mark.parametrize("name", HOSTILE)
def test_no_path_leads_out_of_the_folder_or_into_a_hidden_one(
    site: Served, monkeypatch: pytest.MonkeyPatch, name: str, accept: str
) -> None:
    def refuse(*arguments: Any) -> Any:
        raise AssertionError("a file was about to be read")

    monkeypatch.setattr(route, "outline", refuse)
    answer = site.get(name, Accept_Encoding=accept)
    assert answer.status in (400, 404)
    assert SECRET not in answer.body


@pytest.mark.parametrize(
    "target",
    [
        "/data/../data/lab/vol/info",
        "/data/lab/vol/../../../../outside/secret",
        "/data/%2e%2e/outside/secret",
        "data/lab/vol/info",
    ],
)
def test_no_target_leads_out_of_the_route(site: Served, target: str) -> None:
    assert site.ask(target).status in (400, 404)


pieces = st.sampled_from(
    ["..", ".", "%2e", "%2E%2e", "%252e", "/", "//", "%2f", "%5c", "\\", "%00", "outside", "secret", "out", "info", "root-beside",
     ".glassine", "record.json", "0-64_0-64_0-64", "%c0%ae", "~", ";", ":", "*", "%ff"]
)  # fmt: skip


@given(st.lists(pieces, max_size=9).map("".join))
@example("")
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_made_up_path_gives_a_secret(site: Served, path: str) -> None:
    answer = site.get(path)
    assert answer.status in (200, 400, 404)
    assert SECRET not in answer.body
    if answer.status != 400:  # which the parser of HTTP gives, before anything looks at the path
        assert_readable_by_the_viewer(answer)
    if answer.status == 200:
        assert answer.body.startswith(b'{"@type"')


# Methods ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mesh/12:0", "nothing", "../secret"])
def test_a_preflight_is_allowed(site: Served, name: str) -> None:
    answer = site.ask(
        f"/data/lab/vol/{name}",
        "OPTIONS",
        Origin="http://viewer.example",
        Access_Control_Request_Method="GET",
        Access_Control_Request_Headers="range",
    )
    assert (answer.status, answer.body) == (204, b"")
    assert "GET" in answer.headers["Access-Control-Allow-Methods"]
    assert "range" in [name.strip() for name in answer.headers["Access-Control-Allow-Headers"].split(",")]
    assert int(answer.headers["Access-Control-Max-Age"]) > 0
    assert_readable_by_the_viewer(answer)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"])
def test_nothing_can_be_changed(site: Served, method: str) -> None:
    answer = site.ask("/data/lab/vol/mesh/12:0", method, Content_Length="0")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert answer.headers["Cache-Control"] == "no-store"
    assert_readable_by_the_viewer(answer)
    assert site.get("mesh/12:0").body == PLAIN


# What cannot be read ------------------------------------------------------------------------------------------------------------


def assert_500(answer: Any, caplog: pytest.LogCaptureFixture, name: str, reason: str) -> None:
    assert (answer.status, answer.headers["Cache-Control"]) == (500, "no-store")
    assert_readable_by_the_viewer(answer)
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert name in line
    assert reason in line


@pytest.mark.parametrize("name", ["folders/0-64_0-64_0-64", "folders/0-64_0-64_64-128", "folders/64-128_0-64_0-64"])
def test_what_is_no_file_in_a_chunks_place_is_500(site: Served, caplog: pytest.LogCaptureFixture, name: str) -> None:
    assert_500(site.get(name), caplog, name, "not a regular file")


def test_a_link_that_leads_nowhere_but_to_itself_is_500(site: Served, caplog: pytest.LogCaptureFixture) -> None:
    assert_500(site.get("loop"), caplog, "/lab/vol/loop", os.strerror(errno.ELOOP))


@pytest.mark.parametrize("error", [errno.EACCES, errno.EIO, errno.ESTALE, errno.EMFILE])
@pytest.mark.parametrize("name", ["mesh/12:0", "nested_gz/0-64_0-64_0-64", "nothing"])
def test_what_cannot_be_opened_is_500(
    site: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, error: int
) -> None:
    open_before = os.open

    def failing_open(path: Any, flags: int, *arguments: Any, **more: Any) -> int:
        if "/lab/vol/" in str(path):
            raise OSError(error, os.strerror(error), path)
        return open_before(path, flags, *arguments, **more)

    monkeypatch.setattr(os, "open", failing_open)
    monkeypatch.setattr(lookup, "_open_cached", lambda path: -error)
    assert_500(site.get(name), caplog, name, os.strerror(error))


@pytest.mark.parametrize(("name", "headers"), [("mesh/12:0", {}), ("mesh/12:0", {"Range": "bytes=5-9"}), ("mesh/13:0", {}),
                                               ("mesh/13:0", {"Accept_Encoding": "gzip"})])  # fmt: skip
def test_what_cannot_be_read_is_500(
    site: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, headers: dict[str, str]
) -> None:
    def failing_preadv(*arguments: Any) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "preadv", failing_preadv)
    monkeypatch.setattr(body, "_is_cached", lambda *arguments: False)
    assert_500(site.get(name, **headers), caplog, name, os.strerror(errno.EIO))


def test_a_mistake_in_the_server_is_500_that_the_viewer_can_read(
    site: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*arguments: Any) -> Any:
        raise KeyError("a mistake")

    monkeypatch.setattr(route, "outline", broken)
    assert_500(site.get("mesh/12:0"), caplog, "mesh/12:0", "a mistake")
    assert caplog.records[0].exc_info is not None


@pytest.mark.parametrize(
    ("name", "reason"), [("corrupt", "corrupt"), ("cut", "cut off"), ("no_gzip", "corrupt"), ("longer", "bytes behind its end"),
     ("no_brotli", "brotli data is corrupt"), ("cut_brotli", "brotli data is cut off")]
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_corrupt_gz_that_has_to_be_decoded_is_500(
    site: Served, caplog: pytest.LogCaptureFixture, name: str, reason: str, method: str
) -> None:
    answer = site.ask(f"/data/lab/vol/{name}/0-64_0-64_0-64", method, Accept_Encoding="identity")
    assert_500(answer, caplog, f"/lab/vol/{name}/0-64_0-64_0-64", reason)


def test_a_corrupt_gz_is_passed_on_as_it_is_stored(site: Served) -> None:
    answer = site.get("cut/0-64_0-64_0-64", Accept_Encoding="gzip")
    stored = (site.root / "lab/vol/cut/0-64/0-64/0-64.gz").read_bytes()
    assert (answer.status, answer.headers["Content-Encoding"], answer.body) == (200, "gzip", stored)


# What is large ------------------------------------------------------------------------------------------------------------------

LARGE = random.Random(3).randbytes(3_000_000)


def test_a_large_file_comes_whole(served: Serve) -> None:
    here = served({"v/a.shard": LARGE, "v/b.gz": gzip.compress(LARGE, 1)})
    answer = here.ask("/data/v/a.shard")
    assert (answer.status, answer.headers["Content-Length"], answer.body) == (200, "3000000", LARGE)
    answer = here.ask("/data/v/a.shard", Range="bytes=7-2500000")
    assert (answer.status, answer.body) == (206, LARGE[7:2_500_001])
    answer = here.ask("/data/v/a.shard", Range="bytes=0-1499999,1500001-")
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert LARGE[:1_500_000] in answer.body
    assert LARGE[1_500_001:] in answer.body
    assert here.ask("/data/v/b", Accept_Encoding="gzip").decoded == LARGE
    assert here.ask("/data/v/b").body == LARGE


def test_a_gz_that_unpacks_to_very_much_is_decoded_while_it_is_sent(served: Serve) -> None:
    here = served({"v/zeros.gz": gzip.compress(bytes(20_000_000), 6)})
    answer = here.ask("/data/v/zeros")
    assert (answer.status, answer.headers["Content-Length"], answer.body) == (200, None, bytes(20_000_000))
    head = here.ask("/data/v/zeros", "HEAD")
    assert (head.status, head.headers["Content-Length"], head.headers["ETag"]) == (200, None, answer.headers["ETag"])


def test_a_large_corrupt_gz_is_broken_off(served: Serve, caplog: pytest.LogCaptureFixture) -> None:
    packed = gzip.compress(bytes(20_000_000), 6)
    here = served({"v/zeros.gz": packed[:-30]})
    with pytest.raises(IncompleteRead):
        here.ask("/data/v/zeros")
    assert "'/v/zeros' cannot be read to its end, the response is broken off: gzip data is cut off" in caplog.text


def test_a_file_that_cannot_be_read_to_its_end_is_broken_off(served: Serve, caplog: pytest.LogCaptureFixture) -> None:
    here = served({"v/a.shard": LARGE})
    real, calls = os.preadv, []

    def failing_preadv(descriptor: int, buffers: Sequence[Any], offset: int, flags: int = 0) -> int:
        calls.append(offset)
        if offset >= 2 * body.WHOLE_BYTES:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(descriptor, buffers, offset, flags)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "preadv", failing_preadv)
        with pytest.raises(IncompleteRead):
            here.ask("/data/v/a.shard")
    assert "'/v/a.shard' cannot be read to its end" in caplog.text


def test_ranges_beyond_4_gib_are_exact(served: Serve) -> None:
    here = served({"v/info": b"{}"})
    size = 5 * 2**30 + 3
    with (here.root / "v" / "big.shard").open("wb") as file:
        file.seek(2**32 + 10)
        file.write(b"beyond 4 GiB")
        file.truncate(size)
    assert here.ask("/data/v/big.shard", "HEAD").headers["Content-Length"] == str(size)
    start = 2**32 + 8
    answer = here.ask("/data/v/big.shard", Range=f"bytes={start}-{start + 15}")
    assert (answer.status, answer.body) == (206, b"\0\0beyond 4 GiB\0\0")
    assert answer.headers["Content-Range"] == f"bytes {start}-{start + 15}/{size}"
    answer = here.ask("/data/v/big.shard", Range=f"bytes={2**32 + 1}-{2**32 + 3_000_000}")
    assert (len(answer.body), answer.body[9:21], answer.body.count(0)) == (3_000_000, b"beyond 4 GiB", 3_000_000 - 12)
    assert here.ask("/data/v/big.shard", Range="bytes=-3").headers["Content-Range"] == f"bytes {size - 3}-{size - 1}/{size}"


def test_a_client_that_goes_ends_the_reading_and_reads_hold_little_memory(served: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    here = served({"v/info": b"{}"})
    with (here.root / "v" / "big.shard").open("wb") as file:
        file.truncate(8 * 2**30)
    closed, close, read = threading.Event(), os.close, []
    real = body.read_span

    async def counting_read(descriptor: int, span: tuple[int, int]) -> bytearray:
        read.append(span[1] - span[0])
        return await real(descriptor, span)

    def telling_close(descriptor: int) -> None:
        close(descriptor)
        if read:
            closed.set()

    monkeypatch.setattr(body, "read_span", counting_read)
    monkeypatch.setattr(os, "close", telling_close)
    with here.connect() as connection:
        connection.sendall(b"GET /data/v/big.shard HTTP/1.1\r\nHost: here\r\n\r\n")
        received = 0
        while received < 50_000_000:
            received += len(connection.recv(1 << 20))
    assert closed.wait(30)
    assert max(read) <= body.WHOLE_BYTES
    assert sum(read) < 100_000_000


def test_a_client_that_goes_is_seen_where_nothing_has_to_be_waited_for(tmp_path: Path) -> None:
    with (tmp_path / "big.shard").open("wb") as file:
        file.truncate(40 * body.WHOLE_BYTES)
    sent = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(len(message.get("body", b"")))

    path = "/data/big.shard"
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "headers": []}
    asyncio.run(previewed_app(tmp_path, None)(scope, receive, send))
    assert sum(sent) <= 3 * body.WHOLE_BYTES


# The event loop -----------------------------------------------------------------------------------------------------------------


def test_a_disk_that_is_slow_holds_up_nobody_else(site: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    real, reading, go_on = os.preadv, threading.Event(), threading.Event()

    def slow_preadv(descriptor: int, buffers: Sequence[Any], offset: int, flags: int = 0) -> int:
        if flags:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        if not reading.is_set():
            reading.set()
            assert go_on.wait(60)
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", slow_preadv)
    monkeypatch.setattr(body, "_is_cached", lambda *arguments: False)
    answers = []
    slow = threading.Thread(target=lambda: answers.append(site.get("mesh/12:0")))
    slow.start()
    assert reading.wait(60)
    assert site.get("shards/0a.shard").body == PLAIN
    assert site.ask("/healthz").body == b"ok\n"
    assert not answers
    go_on.set()
    slow.join()
    assert answers[0].body == PLAIN


def test_no_descriptor_is_left_open(site: Served) -> None:
    names = ["info", "nothing", "nested_gz/0-64_0-64_0-64", "cut/0-64_0-64_0-64", "folders/0-64_0-64_0-64", "out/secret"]

    def files() -> list[str]:
        links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        return [target for link in links if os.path.lexists(link) and str(site.root) in (target := os.readlink(link))]

    for name in names * 3:
        site.get(name)
        site.get(name, Range="bytes=0-3", Accept_Encoding="gzip")
        site.ask(f"/data/lab/vol/{name}", "HEAD")
    assert files() == []


def test_a_client_that_sends_nonsense_is_400(site: Served) -> None:
    with site.connect() as connection:
        connection.sendall(b"\0\xff nonsense\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
        connection.shutdown(socket.SHUT_WR)


def test_refused_requests_change_no_file(site: Served) -> None:
    def everything() -> dict[Path, tuple[int, int]]:
        paths = [path for path in sorted(site.root.parent.rglob("*")) if not path.is_symlink()]
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in paths}

    before = everything()
    for name in [*ABSENT, *HOSTILE]:
        for method in ("GET", "PUT", "DELETE"):
            site.ask(f"/data/lab/vol/{name}", method, Content_Length="0")
    assert everything() == before
