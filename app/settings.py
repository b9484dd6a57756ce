"""What the environment says, GLASSINE_... of README.md. The only module that reads these."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from converters.errors import OptionError

_GIBIBYTE = 1 << 30
_SHORTEST_TOKEN = 16
_TOKEN = re.compile(r"[!-~]+")
_ORIGIN = re.compile(r"https?://[^/@\s]+")


@dataclass(frozen=True)
class JobSettings:
    """What jobs may do.

    at_once: how many run together. inputs: folders that they read besides the served one. remote: whether they read URLs.
    schedulers: addresses of the Dask schedulers that they may hand work to. upload_limit: bytes of one file.
    unconfined: run them where the kernel cannot keep them to these folders. cache: where they may keep what can be made again.
    """

    at_once: int = 1
    inputs: tuple[Path, ...] = ()
    remote: bool = False
    schedulers: frozenset[str] = frozenset()
    upload_limit: int = 64 * _GIBIBYTE
    unconfined: bool = False
    cache: Path | None = None


@dataclass(frozen=True)
class AccessSettings:
    """Who may use the server. token: allows everything; None where everybody may do everything. read_token: allows reading.

    origins: of pages elsewhere that may read data, `https://host:port`; none means all.
    """

    token: str | None = field(default=None, repr=False)
    read_token: str | None = field(default=None, repr=False)
    origins: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Settings:
    """debug: show tracebacks. cache: where `glassine view` keeps its datasets. hosts: names that the API answers to."""

    debug: bool
    cache: Path
    hosts: frozenset[str]


@dataclass(frozen=True)
class SiteSettings:
    """What a server is told. hosts: names that the API answers to. log: the form of its lines."""

    hosts: frozenset[str] = frozenset()
    jobs: JobSettings = JobSettings()
    access: AccessSettings = AccessSettings()
    log: Literal["text", "json"] = "text"


NOTHING_SET = SiteSettings()


def read_site_settings(environment: Mapping[str, str] = os.environ) -> SiteSettings:
    """Return what a server is told. Raises OptionError for what is not understood."""
    return SiteSettings(
        read_settings(environment).hosts,
        read_job_settings(environment),
        read_access_settings(environment),
        _log_form(environment.get("GLASSINE_LOG") or "text"),
    )


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings; what is not set has its default."""
    return Settings(
        debug=_is_on(environment, "GLASSINE_DEBUG"),
        cache=_cache(environment),
        hosts=frozenset(name.lower() for name in _names(environment, "GLASSINE_HOSTS")),
    )


def read_job_settings(environment: Mapping[str, str] = os.environ) -> JobSettings:
    """Return what jobs may do; what is not set has its default. Raises OptionError for what is not understood."""
    return JobSettings(
        at_once=_at_once(environment.get("GLASSINE_JOBS") or "1"),
        inputs=tuple(Path(name) for name in environment.get("GLASSINE_INPUTS", "").split(os.pathsep) if name),
        remote=_is_on(environment, "GLASSINE_REMOTE"),
        schedulers=frozenset(_names(environment, "GLASSINE_SCHEDULERS")),
        upload_limit=_bytes(environment.get("GLASSINE_UPLOAD_LIMIT") or "64GiB"),
        unconfined=_is_on(environment, "GLASSINE_UNCONFINED"),
        cache=_cache(environment),
    )


def read_access_settings(environment: Mapping[str, str] = os.environ) -> AccessSettings:
    """Return who may use the server; without tokens everybody may. Raises OptionError, which never shows a token."""
    token, read_token = _token(environment, "GLASSINE_TOKEN"), _token(environment, "GLASSINE_READ_TOKEN")
    if read_token is not None and token is None:
        raise OptionError("GLASSINE_READ_TOKEN is set and GLASSINE_TOKEN is not: set both, or the second one alone")
    if read_token is not None and read_token == token:
        raise OptionError("GLASSINE_READ_TOKEN is the same as GLASSINE_TOKEN: give it a value of its own")
    origins = [origin.rstrip("/").lower() for origin in _names(environment, "GLASSINE_ORIGINS")]
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise OptionError(f"GLASSINE_ORIGINS: found {origin}, expected such as https://neuroglancer-demo.appspot.com")
    return AccessSettings(token, read_token, frozenset(origins))


def is_loopback(host: str) -> bool:
    """Tell whether a server that listens there is reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token(environment: Mapping[str, str], name: str) -> str | None:
    """Return a token from its variable, or from the file that NAME_FILE names, as Docker's secrets are."""
    given, path = environment.get(name, ""), environment.get(f"{name}_FILE", "")
    if given and path:
        raise OptionError(f"{name} and {name}_FILE are both set: set one of them")
    if path:
        try:
            given = Path(path).read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no ASCII text"
            raise OptionError(f"{name}_FILE={path}: cannot be read ({reason})") from None
    elif not given:
        return None
    if len(given) < _SHORTEST_TOKEN:
        raise OptionError(
            f"{name} has {len(given)} characters, expected at least {_SHORTEST_TOKEN}; `openssl rand -hex 32` makes a good one"
        )
    if not _TOKEN.fullmatch(given):
        raise OptionError(f"{name} holds a space or a character that is not ASCII: expected letters, digits and signs alone")
    return given


def _log_form(text: str) -> Literal["text", "json"]:
    if text not in ("text", "json"):
        raise OptionError(f"GLASSINE_LOG={text}: expected text or json")
    return "json" if text == "json" else "text"


def _is_on(environment: Mapping[str, str], name: str) -> bool:
    return environment.get(name, "") not in ("", "0")


def _names(environment: Mapping[str, str], name: str) -> list[str]:
    return [part.strip() for part in environment.get(name, "").split(",") if part.strip()]


def _at_once(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise OptionError(f"GLASSINE_JOBS={text}: expected how many jobs run at once, a whole number of at least 1")
    return int(text)


def _bytes(text: str) -> int:
    # Imported here: the models of options take longer than `glassine --help` may.
    from converters.options import byte_count

    try:
        return byte_count(text)
    except (ValueError, KeyError):
        raise OptionError(f"GLASSINE_UPLOAD_LIMIT={text}: expected bytes, such as 20GB or 64GiB") from None


def _cache(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("GLASSINE_CACHE") or _user_cache(environment))


def _user_cache(environment: Mapping[str, str]) -> Path:
    """Return the user's folder for what can be made again (XDG base directory specification)."""
    given = Path(environment.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path("~/.cache").expanduser()) / "glassine"
