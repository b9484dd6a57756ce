"""Datasets on http://, https://, gs:// and s3://, read through tensorstore's key-value stores.

Credentials for gs:// and s3:// are found as tensorstore finds them (Application Default Credentials; AWS's chain).
"""

import posixpath
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from converters.storage.files import LARGEST_OBJECT
from converters.storage.unmarked import unpacked

SCHEMES = ("http", "https", "gs", "s3")

_RETRIES = {"max_retries": 5, "initial_delay": "500ms", "max_delay": "10s"}
"""A quarter of a minute, then an unreachable server is an error."""
_SECONDS = 300
"""How long one object may take, retries counted in."""
_BUCKETS = {"gs": "gcs", "s3": "s3"}
"""Scheme -> tensorstore's driver."""
_REFUSED = ("PERMISSION_DENIED", "UNAUTHENTICATED")
_ENDS_BEFORE = "OUT_OF_RANGE"
_RANGE_IGNORED = "was ignored by server"


class RefusedError(PermissionError):
    """The server does not tell whether the object is there; other credentials may help."""


class EndsBeforeError(OSError):
    """The object is there, and shorter than was asked for."""


class NoRangesError(OSError):
    """The object is there, and the server gives it as a whole only."""


@dataclass(frozen=True)
class RemoteStorage:
    """Objects below a URL whose path ends in a slash; its query goes with every request.

    anonymous: without credentials (s3 alone; on gs:// tensorstore does without where it finds none).
    limit: bytes that an object may have when it is unpacked.
    """

    url: str
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
        """Return the object's URL, without the query, which may hold a secret."""
        scheme, host, path, _, _ = urlsplit(self.url)
        return urlunsplit((scheme, host, posixpath.normpath(posixpath.join(path, name)), "", ""))

    def _read(self, name: str, byte_range: slice | None) -> bytes | None:
        scheme, host, path, query, _ = urlsplit(self.url)
        # Joined here, because a scale's key may climb out of the dataset and a bucket knows no `..`.
        key = posixpath.normpath(posixpath.join(unquote(path), name)).lstrip("/")
        try:
            store = _store(scheme, host, query, self.anonymous)
            read = store.read(key, byte_range=byte_range).result(timeout=_SECONDS)
        except TimeoutError as error:
            raise TimeoutError(f"no answer within {_SECONDS} seconds") from error
        except (ValueError, RuntimeError, LookupError, NotImplementedError) as error:
            raise _understood(error) from error
        return None if read.state == "missing" else bytes(read.value)


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
def _store(scheme: str, host: str, query: str, anonymous: bool) -> Any:
    import tensorstore

    context = {f"{kind}_request_retries": _RETRIES for kind in ("http", "gcs", "s3")}
    specification = _specification(scheme, host, query, anonymous)
    return tensorstore.KvStore.open(specification, context=tensorstore.Context(context)).result()


def _specification(scheme: str, host: str, query: str, anonymous: bool) -> dict[str, Any]:
    if scheme in ("http", "https"):
        return {"driver": "http", "base_url": urlunsplit((scheme, host, "/", query, "")), "path": "/"}
    bucket = {"driver": _BUCKETS[scheme], "bucket": host}
    return bucket | {"aws_credentials": {"type": "anonymous"}} if anonymous and scheme == "s3" else bucket
