"""Datasets on http://, https://, gs:// and s3://, read through tensorstore's key-value stores.

Credentials for gs:// and s3:// are found as tensorstore finds them (Application Default Credentials; AWS's chain).
"""

import posixpath
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from converters.storage.files import LARGEST_OBJECT
from converters.storage.unmarked import unpacked

SCHEMES = ("http", "https", "gs", "s3")
_URL = re.compile(r"([a-z0-9]+)://([^/?#|]*)(/[^?#|]*)?(\?[^#|]*)?")

_RETRIES = {"max_retries": 5, "initial_delay": "500ms", "max_delay": "10s"}
"""A quarter of a minute, then an unreachable server is an error."""
_SECONDS = 300
"""How long one object may take, retries counted in."""
_BUCKETS = {"gs": "gcs", "s3": "s3"}
"""Scheme -> tensorstore's driver."""
_PUBLIC_BUCKETS = "https://storage.googleapis.com"
_REFUSED = ("PERMISSION_DENIED", "UNAUTHENTICATED")
_ENDS_BEFORE = "OUT_OF_RANGE"
_RANGE_IGNORED = "was ignored by server"


@dataclass(frozen=True)
class Url:
    """A URL in its parts, as they are written: what ends with a slash is a folder. query: with its question mark, or nothing."""

    scheme: str
    host: str
    path: str
    query: str = ""

    def __str__(self) -> str:
        """Return it as one writes it, without the query, which may hold a secret."""
        return f"{self.scheme}://{self.host}{self.path}"


def split_url(text: str) -> Url | None:
    """Return a URL in its parts, None for what is none or has a fragment."""
    match = _URL.fullmatch(text)
    return None if match is None else Url(match[1], match[2], match[3] or "/", match[4] or "")


class RefusedError(PermissionError):
    """The server does not tell whether the object is there; other credentials may help."""


class EndsBeforeError(OSError):
    """The object is there, and shorter than was asked for."""


class NoRangesError(OSError):
    """The object is there, and the server gives it as a whole only."""


@dataclass(frozen=True)
class RemoteStorage:
    """Objects in the folder at a URL, whose path ends with a slash; its query goes with every request.

    anonymous: without credentials, as public buckets on gs:// and s3:// are read.
    limit: bytes that an object may have when it is unpacked.
    """

    url: Url
    anonymous: bool = False
    limit: int = LARGEST_OBJECT

    def get(self, name: str) -> bytes | None:
        """Return an object unpacked, None where the server says that there is none. Raises OSError for any other answer."""
        data = self._read(name, None)
        return None if data is None else unpacked(data, self.limit)

    def get_range(self, name: str, start: int, length: int) -> bytes | None:
        """Return length bytes of an object from start on, None where the server says that there is none.

        Raises OSError for any other answer, an object that ends before and a server that does not do ranges among them.
        """
        return self._read(name, slice(start, start + length))

    def exists(self, name: str) -> bool:
        """Tell whether the server has the object. Raises OSError where it does not tell."""
        try:
            return self._read(name, slice(0, 1)) is not None
        except (EndsBeforeError, NoRangesError):
            return True

    def locate(self, name: str) -> str:
        """Return the object's URL, without the query."""
        folder, key = self._place(name)
        return f"{folder}{key}"

    def _place(self, name: str) -> tuple[Url, str]:
        """Return an object's folder and its name in it: keys of scales may climb out of a dataset, and buckets know no `..`."""
        folder, key = self.url, posixpath.normpath(name)
        while key.startswith("../"):
            folder, key = _parent(folder), key.removeprefix("../")
        return folder, key

    def _read(self, name: str, byte_range: slice | None) -> bytes | None:
        folder, key = self._place(name)
        try:
            read = _store(folder, self.anonymous).read(key, byte_range=byte_range).result(timeout=_SECONDS)
        except TimeoutError as error:
            raise TimeoutError(f"no answer within {_SECONDS} seconds") from error
        except (ValueError, RuntimeError, LookupError, NotImplementedError) as error:
            raise _understood(error) from error
        return None if read.state == "missing" else bytes(read.value)


def _parent(folder: Url) -> Url:
    return replace(folder, path=f"{posixpath.dirname(folder.path.rstrip('/')).rstrip('/')}/")


def _understood(error: Exception) -> OSError:
    """Return an error of tensorstore, `STATUS: sentence [source locations=...]`, as one of its kind with the sentence alone."""
    status, _, sentence = str(error).partition(" [source locations")[0].partition(": ")
    if status in _REFUSED:
        return RefusedError(f"the server refuses: {sentence}")
    if status == _ENDS_BEFORE:
        return EndsBeforeError(f"the object ends before: {sentence}")
    if sentence.endswith(_RANGE_IGNORED):
        return NoRangesError(f"the server does not answer requests for parts of a file, which shards need: {sentence}")
    return ConnectionError(sentence or str(error))


@lru_cache(maxsize=16)
def _store(folder: Url, anonymous: bool) -> Any:
    import tensorstore

    context = {f"{kind}_request_retries": _RETRIES for kind in ("http", "gcs", "s3")}
    return tensorstore.KvStore.open(_specification(folder, anonymous), context=tensorstore.Context(context)).result()


def _specification(folder: Url, anonymous: bool) -> dict[str, Any]:
    if folder.scheme in ("http", "https"):
        return {"driver": "http", "base_url": f"{folder}{folder.query}"}
    if folder.scheme == "gs" and anonymous:
        # Where the viewer reads public buckets; tensorstore's driver complains on the terminal where it finds no credentials.
        return {"driver": "http", "base_url": _PUBLIC_BUCKETS, "path": f"/{folder.host}{folder.path}"}
    bucket = {"driver": _BUCKETS[folder.scheme], "bucket": folder.host, "path": folder.path.lstrip("/")}
    return bucket | {"aws_credentials": {"type": "anonymous"}} if anonymous else bucket
