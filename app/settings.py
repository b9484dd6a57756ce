"""What the environment says: GLASSINE_DEBUG, GLASSINE_CACHE, GLASSINE_HOSTS. The only module that reads these."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """debug: show tracebacks. cache: where `glassine view` keeps its datasets. hosts: names that the API answers to."""

    debug: bool
    cache: Path
    hosts: frozenset[str]


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings; what is not set has its default."""
    names = (name.strip().lower() for name in environment.get("GLASSINE_HOSTS", "").split(","))
    return Settings(
        debug=environment.get("GLASSINE_DEBUG", "") not in ("", "0"),
        cache=Path(environment.get("GLASSINE_CACHE") or _user_cache(environment)),
        hosts=frozenset(name for name in names if name),
    )


def _user_cache(environment: Mapping[str, str]) -> Path:
    """Return the user's folder for what can be made again (XDG base directory specification)."""
    given = Path(environment.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path("~/.cache").expanduser()) / "glassine"
