"""A folder with public and private datasets, served with tokens and without, and asked in every person's name."""

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.access.grants import make_grant
from app.access.sessions import COOKIE, make_session
from app.access.tokens import Right, link_key, tokens_of
from app.metrics.counted import Telling
from app.server import counted, create_app, running
from app.settings import AccessSettings

TOKEN = "write-0123456789abcdef"
READ_TOKEN = "read-fedcba9876543210"
SETTINGS = AccessSettings(TOKEN, READ_TOKEN)
TOKENS = tokens_of(SETTINGS)
assert TOKENS is not None

SECRET = b"q7Zr0w of a recluse x93kVb"
"""In every file of a private dataset."""
HIDDEN = ("secluded", "lab/cloister")
"""The private datasets."""
NAMES = ("secluded", "cloister")
"""What nobody may learn of them."""
SCALE = {"key": "8_8_8", "size": [64, 64, 64], "resolution": [8, 8, 8], "chunk_sizes": [[64, 64, 64]], "encoding": "raw"}
INFO = {"type": "image", "data_type": "uint8", "num_channels": 1, "scales": [SCALE]}
CHUNK = "8_8_8/0-64_0-64_0-64"
FILES = ("info", CHUNK, "provenance", "mesh/7:0", "8_8_8/0-64/0-64/0-64")
ABSENT = ("8_8_8/64-128_0-64_0-64", "none", "none/info", "", "8_8_8")


@dataclass(frozen=True)
class Answer:
    """One response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def told(self) -> tuple[int, list[tuple[str, str]], bytes]:
        """All of it but the time."""
        return self.status, [header for header in self.headers.items() if header[0].lower() != "date"], self.body


class Client:
    """Asks a server for targets as they are, byte by byte; a connection is kept."""

    def __init__(self, url: str) -> None:
        self.host = url.removeprefix("http://")
        self._connection = http.client.HTTPConnection(self.host, timeout=60)

    def ask(self, target: str, who: Mapping[str, str] | None = None, method: str = "GET", body: object = None) -> Answer:
        """Send one request. who: headers. body: JSON."""
        content = None if body is None else json.dumps(body).encode()
        headers = {} if content is None else {"Content-Type": "application/json", "Content-Length": str(len(content))}
        self._connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in {**headers, **(who or {})}.items():
            self._connection.putheader(name, value)
        self._connection.endheaders(content)
        response = self._connection.getresponse()
        return Answer(response.status, response.headers, response.read())

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def make_dataset(root: Path, name: str, content: bytes) -> None:
    """Write a dataset whose files all hold some bytes, and its picture."""
    folder = root / name
    (folder / ".glassine").mkdir(parents=True)
    (folder / "info").write_text(json.dumps({**INFO, "told": content.decode()}))
    (folder / ".glassine" / "thumbnail.png").write_bytes(b"\x89PNG" + content)
    (folder / "provenance").write_bytes(content)
    (folder / "8_8_8" / "0-64" / "0-64").mkdir(parents=True)
    (folder / "8_8_8" / "0-64" / "0-64" / "0-64").write_bytes(content)
    (folder / "mesh").mkdir()
    (folder / "mesh" / "7:0").write_bytes(content)


def make_root(folder: Path) -> Path:
    """Make a folder with public and private datasets, all of it private by default."""
    make_dataset(folder, "open", b"everybody may see this")
    make_dataset(folder, "lab/shown", b"everybody may see this")
    for name in HIDDEN:
        make_dataset(folder, name, SECRET)
    (folder / ".glassine").mkdir()
    write_rules(folder, {"open": "public", "lab": "public", "lab/cloister": "private"})
    return folder


def write_rules(root: Path, datasets: Mapping[str, str], default: str = "private") -> None:
    """Write the file of the rules."""
    (root / ".glassine" / "access.json").write_text(json.dumps({"default": default, "datasets": dict(datasets)}))


@contextmanager
def served(root: Path, access: AccessSettings | None = SETTINGS) -> Iterator[Client]:
    """Serve a folder as `glassine serve` does, but for the processes."""
    site = create_app(root, access=access)
    with running(counted(site, root, Telling())) as url:
        client = Client(url)
        try:
            yield client
        finally:
            client.close()


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder; a test that changes it makes its own."""
    return make_root(tmp_path_factory.mktemp("access"))


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[Client]:
    """A server with both tokens."""
    with served(root) as opened:
        yield opened


@pytest.fixture(scope="module")
def without(root: Path) -> Iterator[Client]:
    """The same without a token: what whoever may read something gets."""
    with served(root, None) as opened:
        yield opened


def bearer(token: str) -> dict[str, str]:
    """Return the header of whoever has a token."""
    return {"Authorization": f"Bearer {token}"}


def cookie(right: Right, settings: AccessSettings = SETTINGS) -> dict[str, str]:
    """Return the header of a session."""
    tokens = tokens_of(settings)
    assert tokens is not None
    return {"Cookie": f"theme=dark; {COOKIE}={make_session(tokens, right)[1]}"}


def grant(name: str, seconds: int = 3600, token: str = TOKEN) -> str:
    """Return what a link has in front of a name."""
    return make_grant(link_key(token), name, int(time.time()) + seconds)
