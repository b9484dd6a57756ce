"""One table of requests, asked of the app and of nginx in front of it: the same class of status, the same body, the same headers.

Every kind of file x method x Accept-Encoding x Range, each for what is there, absent, corrupt and unreadable, public and private,
and for those who may read what is private and those who may not. DIFFERENCES are all that the two do not have in common.
"""

import base64
import email
import gzip
import hashlib
import hmac
import http.client
import json
import os
import random
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import brotli
import psutil
import pytest

from formats.grid import compressed_morton_code
from formats.info import Sharding, sharding_members
from tests.app.data.asking import Answer, Line, write_files
from tests.e2e.fronted import App, nginx_folder, running_app, running_nginx
from tests.formats.sharding.shards import tensorstore_shards

IS_SLOW = os.environ.get("GLASSINE_SLOW") == "1"
NOW = int(time.time())
TOKEN = "a-token-of-the-tests-0123456789"
PLAIN = bytes(range(256)) * 20
SHARDING = Sharding(0, 0, 0, "identity", "raw", "raw")
SHARD = tensorstore_shards({compressed_morton_code((0, 0, 0), (2, 1, 1)): PLAIN}, SHARDING)
(SHARD_NAME,) = SHARD
VOLUME_INFO = {
    "@type": "neuroglancer_multiscale_volume",
    "type": "image",
    "data_type": "uint8",
    "num_channels": 1,
    "scales": [
        {
            "key": "sharded",
            "size": [32, 16, 10],
            "resolution": [8, 8, 8],
            "voxel_offset": [0, 0, 0],
            "chunk_sizes": [[16, 16, 10]],
            "encoding": "raw",
            "sharding": sharding_members(SHARDING),
        }
    ],
}


@dataclass(frozen=True)
class Kind:
    """name: what the viewer asks for below the dataset. file: where that lies. body: what it gets, stored by pack."""

    name: str
    file: str
    body: bytes = PLAIN
    pack: Callable[[bytes], bytes] = bytes
    prefix: str = "/data"

    @property
    def is_packed(self) -> bool:
        return self.pack is not bytes


def shard(body: bytes) -> bytes:
    return SHARD[SHARD_NAME]


KINDS = {
    "info": Kind("info", "info", json.dumps(VOLUME_INFO).encode()),
    "nested chunk": Kind("nested/-64-0_-128--64_-3-61", "nested/-64-0/-128--64/-3-61"),
    "flat chunk": Kind("flat/0-64_0-64_0-64", "flat/0-64_0-64_0-64"),
    "nested chunk .gz": Kind("deep/er/8_8_40/-64-0_0-64_0-64", "deep/er/8_8_40/-64-0/0-64/0-64.gz", pack=gzip.compress),
    "flat chunk .gz": Kind("flat_gz/0-64_0-64_0-64", "flat_gz/0-64_0-64_0-64.gz", pack=gzip.compress),
    "nested chunk .br": Kind("nested_br/0-64_0-64_0-64", "nested_br/0-64/0-64/0-64.br", pack=brotli.compress),
    "jpeg chunk": Kind("jpeg/0-64_0-64_0-64", "jpeg/0-64/0-64/0-64", b"\xff\xd8\xff\xe0" + PLAIN),
    "sharded chunk": Kind("sharded/0-16_0-16_0-10", f"sharded/{SHARD_NAME}", pack=shard, prefix="/flat"),
    "shard": Kind(f"sharded/{SHARD_NAME}", f"sharded/{SHARD_NAME}", SHARD[SHARD_NAME]),
    "legacy manifest": Kind("mesh/12:0", "mesh/12:0", b'{"fragments": ["12:0:0-64_0-64_0-64"]}'),
    "legacy manifest of another name": Kind("mesh/13:0", "mesh/13.json", b'{"fragments": ["13"]}'),
    "legacy fragment": Kind("mesh/12:0:0-64_0-64_0-64", "mesh/12:0:0-64_0-64_0-64"),
    "legacy fragment .gz": Kind("mesh/14:0:1", "mesh/14:0:1.gz", pack=gzip.compress),
    "multires manifest": Kind("multires/7.index", "multires/7.index"),
    "multires fragments": Kind("multires/7", "multires/7"),
    "skeleton": Kind("skeletons/7", "skeletons/7"),
    "segment properties": Kind("properties/info", "properties/info", b'{"@type": "neuroglancer_segment_properties"}'),
    "info .gz": Kind("packed/info", "packed/info.gz", b'{"@type": "neuroglancer_skeletons"}', gzip.compress),
    "name with signs": Kind("mesh/a%20b%25c%3Fd", "mesh/a b%c?d"),
}
PACKED = [name for name, kind in KINDS.items() if kind.is_packed]

ENCODINGS = ["gzip, deflate", "br", "identity", None]
RANGES = [
    {},
    {"Range": "bytes=16-31"},
    {"Range": "bytes=100-"},
    {"Range": "bytes=-7"},
    {"Range": "bytes=5-99999999"},
    {"Range": "bytes=0-3,10-12,-2"},
    {"Range": "bytes=99999999-"},
    {"Range": "bytes=5-1"},
    {"Range": "bytes=abc"},
    {"Range": "lines=1-2"},
    {"Range": "bytes=2-9", "If_Range": "{date}"},
    {"Range": "bytes=2-9", "If_Range": "{tag}"},
    {"Range": "bytes=2-9", "If_Range": '"another"'},
    {"Range": "bytes=2-9", "If_Range": "Thu, 01 Jan 1970 00:00:00 GMT"},
]
"""{date} and {tag} stand for what the server said before, {session} in a row for the cookie of one who signed in."""
CONDITIONS = [{"If_None_Match": "{tag}"}, {"If_Modified_Since": "{date}"}]


@dataclass(frozen=True)
class Row:
    """A dataset and somebody who asks for it. grant: what stands in front of the dataset's name."""

    dataset: str
    headers: dict[str, str]
    grant: str = ""
    is_readable: bool = True
    kinds: tuple[str, ...] = tuple(KINDS)


def grant(name: str, expires: int) -> str:
    """Return the right to read a dataset, as docs/access.md has it."""
    digits, number = "", expires
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    key = hashlib.sha256(f"glassine link\n{TOKEN}".encode()).digest()
    signed = hmac.digest(key, f"link\n{digits}\n{name}".encode(), "sha256")[:16]
    return f"~{digits}.{name.count('/') + 1}.{base64.urlsafe_b64encode(signed).decode().rstrip('=')}/"


def rows() -> dict[str, Row]:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    later, before = NOW + 3600, NOW - 3600
    found = {state: Row(f"open/{state}", {}) for state in ("present", "absent", "unreadable", "forbidden")}
    found["corrupt"] = Row("open/corrupt", {}, kinds=tuple(PACKED))
    name = "closed/present"
    return found | {
        "private: nobody": Row(name, {}, is_readable=False),
        "private: another token": Row(name, {"Authorization": "Bearer 0123456789abcdefgh"}, is_readable=False),
        "private: token": Row(name, bearer),
        "private: session": Row(name, {"Cookie": "{session}"}),
        "private: session of another server": Row(
            name, {"Cookie": f"glassine_session=2.{NOW + 999}.{'0' * 16}.{'0' * 64}"}, is_readable=False
        ),
        "private: link": Row(name, {}, grant(name, later)),
        "private: expired link": Row(name, {}, grant(name, before), is_readable=False),
        "private: link of another dataset": Row(name, {}, grant("closed/absent", later), is_readable=False),
        "private, absent: nobody": Row("closed/absent", {}, is_readable=False),
        "private, absent: link": Row("closed/absent", {}, grant("closed/absent", later)),
    }


ROWS = rows()


@dataclass(frozen=True)
class Pair:
    """The same datasets by two ways."""

    app: Line
    nginx: Line
    process: App
    session: str


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with nginx_folder() as root:
        write_datasets(root / "srv/data")
        yield root


def write_datasets(root: Path) -> None:
    """Write a dataset for each state; all below open/ is public."""
    rules = {"default": "private", "datasets": {"open": "public", "open/scan.nii": "private"}}
    write_files(root, {".glassine/access.json": json.dumps(rules).encode(), "open/scan.nii": PLAIN, "open/other.nii": PLAIN})
    stored = {kind.file: kind.pack(kind.body) for kind in KINDS.values()}
    info = KINDS["info"].body
    write_files(root / "open/present", stored)
    write_files(root / "closed/present", stored)
    write_files(root / "open/absent", {"other": b""})
    write_files(root / "open/corrupt", {"info": info} | {KINDS[name].file: corrupt(KINDS[name]) for name in PACKED})
    write_files(root / "open/forbidden", stored)
    for file in stored:
        (root / "open/forbidden" / file).chmod(0)
        path = root / "open/unreadable" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(path.name)
    for dataset in ("unreadable", "forbidden"):
        # Without its info no chunk can be looked for in shards.
        path = root / "open" / dataset / "info"
        path.unlink()
        path.write_bytes(info)


def corrupt(kind: Kind) -> bytes:
    data = bytearray(kind.pack(kind.body))
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    return bytes(data[:-9])


@pytest.fixture(scope="module")
def pair(nginx: str, folder: Path) -> Iterator[Pair]:
    with ExitStack() as stack:
        app = stack.enter_context(running_app(folder, {"GLASSINE_TOKEN": TOKEN}))
        front = stack.enter_context(running_nginx(nginx, folder, app.address))
        lines = [stack.enter_context(served.line()) for served in (app.served, front.served)]
        yield Pair(lines[0], lines[1], app, session(front.served.url))


def session(url: str) -> str:
    """Sign in as the page does, and return the cookie."""
    body = json.dumps({"token": TOKEN}).encode()
    request = urllib.request.Request(f"{url}/api/session", body, {"Content-Type": "application/json", "Origin": url})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return str(answer.headers["Set-Cookie"]).partition(";")[0]


HEADERS = [
    "Accept-Ranges",
    "Access-Control-Allow-Headers",
    "Access-Control-Allow-Methods",
    "Access-Control-Allow-Origin",
    "Access-Control-Max-Age",
    "Allow",
    "Cache-Control",
    "Content-Encoding",
    "Content-Length",
    "Content-Range",
    "Content-Type",
    "Last-Modified",
    "WWW-Authenticate",
    "X-Content-Type-Options",
]
"""Those that are compared as they are; those whose order or case means nothing are compared as lists."""
LISTS = ["Access-Control-Expose-Headers", "Vary"]


Seen = dict[str, Any]


def seen(answer: Answer | None) -> Seen:
    """Return what is compared of an answer, None of one that was broken off."""
    if answer is None:
        return {"status": "broken off"}
    found: Seen = {"status": answer.status, "has tag": "ETag" in answer.headers}
    for name in HEADERS:
        values = answer.headers.get_all(name, [])
        found[name] = values[0] if len(values) == 1 else values or None
    for name in LISTS:
        found[name] = sorted({one.strip().lower() for value in answer.headers.get_all(name, []) for one in value.split(",")})
    if answer.status == 206 and answer.headers["Content-Type"].startswith("multipart/byteranges"):
        return found | {"body": parts(answer), "Content-Type": "multipart/byteranges", "Content-Length": None}
    if answer.status < 300 or answer.status == 401:
        found["body"] = decoded(answer)
    return found


def decoded(answer: Answer) -> bytes:
    """Return the body as it was before it was packed; what is corrupt stays as it is."""
    try:
        return answer.decoded
    except (OSError, EOFError, zlib.error, brotli.error):
        return answer.body


def parts(answer: Answer) -> list[tuple[str, str, bytes]]:
    """Return the parts of an answer with several ranges."""
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    found = []
    for part in email.message_from_bytes(head + answer.body).get_payload():
        assert isinstance(part, email.message.Message)
        found.append((part["Content-Type"], part["Content-Range"], part.get_payload(decode=True)))
    return found


@dataclass(frozen=True)
class Case:
    """A request of the table, and what both say."""

    row: str
    kind: Kind
    method: str
    app: Seen
    nginx: Seen


@dataclass(frozen=True)
class Difference:
    """What the two do not have in common by nature. where: the cases; names: what may differ there."""

    reason: str
    where: Callable[[Case], bool]
    names: tuple[str, ...]


def is_unpacked(case: Case) -> bool:
    is_sent = case.nginx["status"] in (200, 304, "broken off")
    return is_sent and case.kind.pack is gzip.compress and not case.nginx.get("Content-Encoding")


DIFFERENCES = [
    Difference(
        "nginx says of a file that has not changed nothing but its tag and date",
        lambda case: case.app["status"] == case.nginx["status"] == 304,
        ("Accept-Ranges", "Content-Encoding", "Vary"),
    ),
    Difference(
        "nginx leaves it out of a part of a file, which shows by itself that ranges are answered",
        lambda case: case.app["status"] == case.nginx["status"] == 206,
        ("Accept-Ranges",),
    ),
    Difference(
        "what nginx unpacks on the way it sends in pieces, of a length that is not known before",
        lambda case: is_unpacked(case) and case.row != "corrupt" and case.app["status"] == 200,
        ("Content-Length",),
    ),
    Difference(
        "nginx has added the headers of the file before it looks at the range, and writes a page of its own",
        lambda case: case.app["status"] == case.nginx["status"] == 416,
        ("Cache-Control", "Content-Length", "Content-Type", "X-Content-Type-Options"),
    ),
    Difference(
        "nginx has sent the head before it finds that a file cannot be unpacked: it breaks off, and for HEAD it does not look",
        lambda case: is_unpacked(case) and case.row == "corrupt" and case.app["status"] == 500,
        ("status", "has tag", "body", *HEADERS, *LISTS),
    ),
]


def assert_same(case: Case) -> None:
    """Fail unless both say the same but for DIFFERENCES, and what they say is right."""
    left_out = {name for difference in DIFFERENCES if difference.where(case) for name in difference.names}
    app, nginx = ({name: value for name, value in said.items() if name not in left_out} for said in (case.app, case.nginx))
    assert nginx == app
    assert_right(case)


def assert_right(case: Case) -> None:
    """Fail unless the app says what this file in this state deserves."""
    status, body = case.app["status"], case.app.get("body")
    assert status in statuses(case), case.app
    if case.method == "GET" and status == 200 and case.row != "corrupt":
        assert body == case.kind.body
    if status == 206:
        told = body if isinstance(body, list) else [(None, case.app["Content-Range"], body)]
        for _, content_range, data in told:
            first, last = content_range.removeprefix("bytes ").partition("/")[0].split("-")
            assert data == case.kind.body[int(first) : int(last) + 1]


def statuses(case: Case) -> tuple[int, ...]:
    if case.method == "OPTIONS":
        return (204,)
    if case.method == "POST":
        return (405,)
    if not ROWS[case.row].is_readable:
        return (401,)
    if case.row in ("unreadable", "forbidden") and case.kind.file != "info":
        return (500,)
    return {"absent": (404,), "private, absent: link": (404,), "corrupt": (200, 304, 500)}.get(case.row, (200, 206, 304, 416))


def ask(line: Line, target: str, method: str, headers: dict[str, str]) -> Answer | None:
    try:
        return line.ask(target, method, **headers)
    except http.client.HTTPException:
        return None


def requests(row: Row) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the methods and the headers; first those whose answer tells what {date} and {tag} are.

    All that can be combined is for what is there, and with GLASSINE_SLOW=1 for every row.
    """
    for accept in ENCODINGS if IS_SLOW or row in (ROWS["present"], ROWS["corrupt"]) else (ENCODINGS[0], None):
        chosen = {} if accept is None else {"Accept_Encoding": accept}
        for number, more in enumerate([*RANGES, *CONDITIONS]):
            yield "GET", {**row.headers, **chosen, **more}
            if IS_SLOW or number < 2:
                yield "HEAD", {**row.headers, **chosen, **more}
    for method in ("OPTIONS", "POST"):
        yield method, {**row.headers, "Content_Length": "0", "Origin": "http://elsewhere"}


class Asker:
    """Asks one server, and remembers what it said of the file."""

    def __init__(self, line: Line, target: str, session: str) -> None:
        self._line, self._target = line, target
        self._said = {"date": "none", "tag": '"none"', "session": session}

    def ask(self, method: str, headers: dict[str, str]) -> Seen:
        sent = {name: value.format(**self._said) for name, value in headers.items()}
        answer = ask(self._line, self._target, method, sent)
        if answer is not None and answer.headers["ETag"]:
            self._said |= {"date": answer.headers["Last-Modified"] or "none", "tag": answer.headers["ETag"]}
        return seen(answer)


@pytest.mark.parametrize(("row", "name"), [(row, name) for row in ROWS for name in ROWS[row].kinds])
def test_the_app_and_nginx_answer_the_same(pair: Pair, row: str, name: str) -> None:
    kind, asked = KINDS[name], ROWS[row]
    target = f"{kind.prefix}/{asked.grant}{asked.dataset}/{kind.name}"
    app, nginx = (Asker(line, target, pair.session) for line in (pair.app, pair.nginx))
    for method, headers in requests(asked):
        assert_same(Case(row, kind, method, app.ask(method, headers), nginx.ask(method, headers)))


def spellings(path: str) -> list[str]:
    """Return targets that might lead to a path somewhere, which begins with a slash."""
    encoded = path.replace("/", "%2f")
    reading = grant("open/present", NOW + 3600)
    return [
        f"/data{path}",
        f"/data/{path}",
        f"/data/.{path}",
        f"/data/open/..{path}",
        f"/data/open/%2e%2e{path}",
        f"/data/open/present/../..{path}",
        f"/data{encoded}",
        f"/data/{encoded}",
        f"/data/open/present/..%2f..{encoded}",
        f"/data/open/present/..%2F..{path}",
        f"/data/open/present/..\\..{path}",
        f"/data/open/present/..%5c..{path}",
        f"/data/open/present/..;/..{path}",
        f"/data/open/present/%252e%252e/%252e%252e{path}",
        f"/data/open/present/info/../../..{path}",
        f"/data/open/present/#/../../..{path}",
        f"/data/open/present/?/../../..{path}",
        f"//data{path}",
        f"/./data{path}",
        f"/%64ata{path}",
        f"/data/%63losed{path.removeprefix('/closed')}",
        f"/data{path}?",
        f"/data{path}?a=/open/present/info",
        f"/data{path}#",
        f"/data{path}%23",
        f"/data{path}%00",
        f"/data{path}%20",
        f"/data{path}/",
        f"/data{path}/.",
        f"/data{path}/../info",
        f"/data{path}.gz",
        f"http://here/data{path}",
        f"/flat{path}",
        f"/flat/open/present/../..{path}",
        f"/data/{reading}closed/present/info",
        f"/data/{reading}../closed/present/info",
        f"/data/{reading}open/present/../..{path}",
        f"/data/{reading}open/present/%2e%2e/%2e%2e{path}",
        f"/data/{reading}{reading}closed/present/info",
        f"/data/~{path}",
        f"/static/..%2f..%2fdata{path}",
        f"/access{path}",
    ]


def test_only_pages_that_the_app_was_told_of_may_read(nginx: str, folder: Path) -> None:
    told = {"GLASSINE_TOKEN": TOKEN, "GLASSINE_ORIGINS": "https://a.org,https://b.org"}
    grants = ("open/present", f"{grant('closed/present', NOW + 3600)}closed/present", "closed/present")
    names = ("info", "nested/-64-0_-128--64_-3-61", "deep/er/8_8_40/-64-0_0-64_0-64", "nested_br/0-64_0-64_0-64", "nothing")
    with ExitStack() as stack:
        app = stack.enter_context(running_app(folder, told))
        front = stack.enter_context(running_nginx(nginx, folder, app.address))
        lines = [stack.enter_context(served.line()) for served in (app.served, front.served)]
        for dataset, name, origin, method in product(grants, names, ("https://a.org", "https://c.org", ""), ("GET", "OPTIONS")):
            headers = {"Origin": origin} if origin else {}
            for line in lines:
                answer = line.ask(f"/data/{dataset}/{name}", method, Accept_Encoding="gzip, br", **headers)
                allowed = ["https://a.org"] if origin == "https://a.org" else None
                assert answer.headers.get_all("Access-Control-Allow-Origin") == allowed
                assert "origin" in ",".join(answer.headers.get_all("Vary", [])).lower()


def test_a_file_may_have_a_rule_of_its_own(pair: Pair) -> None:
    for line in (pair.app, pair.nginx):
        for _ in range(2):
            assert line.ask("/data/open/other.nii").status == 200
            assert line.ask("/data/open/scan.nii").status == 401
            assert line.ask("/data/open/scan.nii", Authorization=f"Bearer {TOKEN}").body == PLAIN


GIBIBYTE = 1 << 30
PAGE = 4096
STRIDE = 64 << 20
"""One page of bytes lies at each multiple of it, zeros between them."""


@pytest.fixture(scope="module")
def huge(folder: Path) -> Path:
    """A file of 5 GiB, in the public folder, that takes little of the disk."""
    path = folder / "srv/data/open/huge/0.shard"
    path.parent.mkdir()
    with path.open("wb") as file:
        for start in range(0, 5 * GIBIBYTE, STRIDE):
            file.seek(start)
            file.write(page(start))
        file.truncate(5 * GIBIBYTE)
    return path


def page(start: int) -> bytes:
    return hashlib.shake_128(str(start).encode()).digest(PAGE)


def bytes_of_huge(first: int, end: int) -> bytes:
    """Return the bytes from first to the one before end."""
    found = bytearray(end - first)
    for start in range(first // STRIDE * STRIDE, end, STRIDE):
        low, high = max(first, start), min(end, start + PAGE)
        if low < high:
            found[low - first : high - first] = page(start)[low - start : high - start]
    return bytes(found)


def test_a_thousand_ranges_above_4_gib_are_exact_in_flat_memory(pair: Pair, huge: Path) -> None:
    rng = random.Random(7)
    spans = []
    for _ in range(1000):
        middle = rng.randrange(5 * GIBIBYTE) if rng.random() < 0.3 else rng.randrange(80) * STRIDE + rng.randrange(PAGE)
        first = max(0, middle - rng.randrange(200_000))
        spans.append((first, min(5 * GIBIBYTE, first + rng.randrange(1, 400_000))))
    before = 0
    for number, (first, end) in enumerate(spans):
        expected = bytes_of_huge(first, end)
        for line in (pair.app, pair.nginx):
            answer = line.ask("/data/open/huge/0.shard", Range=f"bytes={first}-{end - 1}")
            assert (answer.status, answer.headers["Content-Range"]) == (206, f"bytes {first}-{end - 1}/{5 * GIBIBYTE}")
            assert answer.body == expected
        if number == 100:
            before = resident_bytes(pair.process.pid)
    assert resident_bytes(pair.process.pid) < before + (16 << 20)


def resident_bytes(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().rss)


def test_nobody_gets_what_is_private_by_another_spelling(pair: Pair) -> None:
    for name in ("info", "nested/-64-0_-128--64_-3-61", "deep/er/8_8_40/-64-0_0-64_0-64", f"sharded/{SHARD_NAME}", "mesh/12:0"):
        for target in spellings(f"/closed/present/{name}"):
            for line in (pair.app, pair.nginx):
                answer = line.ask(target)
                assert answer.status in (400, 401, 404), target
                for kind in KINDS.values():
                    assert kind.body not in decoded(answer), target
