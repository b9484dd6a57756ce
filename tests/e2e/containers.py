"""The Dockerfile and docker-compose.yml as data, and their commands in folders of a test's own."""

import json
import os
import re
import shlex
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE_FILE = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_FILE)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

_PLACES = re.compile(r"(?<![\w.~-])/(opt/glassine|opt/data|srv/data|run/secrets|src|tmp)\b")
_SETTING = re.compile(r"\$\{(\w+):-([^}]*)\}")


@dataclass(frozen=True)
class Instruction:
    """One of the Dockerfile's: its name and what stands behind it, on one line."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """What stands behind it as a list, as JSON or as words."""
        start = self.text.find("[")
        return json.loads(self.text[start:]) if start >= 0 else shlex.split(self.text)


@dataclass(frozen=True)
class Stage:
    """What comes behind one FROM."""

    base: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, name: str) -> list[Instruction]:
        return [one for one in self.instructions if one.name == name]

    def last(self, name: str) -> Instruction:
        return self.all(name)[-1]

    @property
    def environment(self) -> dict[str, str]:
        pairs = [word.partition("=") for one in self.all("ENV") for word in one.words]
        return {name: value for name, _, value in pairs}


def stages() -> list[Stage]:
    """Return the Dockerfile's stages."""
    lines = "\n".join(line for line in DOCKERFILE.splitlines() if not line.startswith("#"))
    found: list[Stage] = []
    for line in lines.replace("\\\n", " ").splitlines():
        name, _, text = line.strip().partition(" ")
        if name == "FROM":
            found.append(Stage(text))
        elif name:
            found[-1].instructions.append(Instruction(name, text.strip()))
    return found


BUILD, IMAGE = stages()


@dataclass(frozen=True)
class Prefix:
    """A folder in whose place the root of a container is taken: paths below it, ports and names of other containers are changed.

    changes: what else is changed in a command, such as the address of another service.
    """

    base: Path
    changes: dict[str, str] = field(default_factory=dict)

    def placed(self, text: str) -> str:
        # All in one go, the longest first: a port that was put in may hold the digits of another.
        names = sorted(map(re.escape, self.changes), key=len, reverse=True)
        changed = re.sub("|".join(names), lambda found: self.changes[found[0]], text) if names else text
        return _PLACES.sub(rf"{self.base}/\1", changed)

    def words(self, words: list[str]) -> list[str]:
        return [self.placed(defaulted(word)) for word in words]

    def environment(self, service: str) -> dict[str, str]:
        """Return the environment of a service, of which nothing comes from this machine but where programs are."""
        told = IMAGE.environment | SERVICES[service].get("environment", {})
        found = {name: self.placed(defaulted(value)) for name, value in told.items()}
        return found | {"PATH": found["PATH"].replace("$PATH", os.environ["PATH"])}

    def copy_sources(self) -> None:
        """Copy what the Dockerfile copies for the build."""
        folder = self.base / BUILD.last("WORKDIR").text.strip("/")
        for instruction in BUILD.all("COPY"):
            *sources, target = instruction.words
            for source in sources:
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, folder / target, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    (folder / target).mkdir(parents=True, exist_ok=True)
                    shutil.copy(ROOT / source, folder / target)


def defaulted(text: str) -> str:
    """Return a value of docker-compose.yml when none of its variables is set."""
    return _SETTING.sub(r"\2", text)


def command(service: str) -> list[str]:
    """Return the words that a service's container runs."""
    told = SERVICES[service]
    if "entrypoint" in told:
        return [*told["entrypoint"], *told.get("command", [])]
    return [*IMAGE.last("ENTRYPOINT").words, *told.get("command", IMAGE.last("CMD").words)]


def healthcheck(service: str) -> list[str]:
    """Return the words that tell whether a service's container is well."""
    told = SERVICES[service].get("healthcheck", {}).get("test")
    return list(told[1:]) if told else IMAGE.last("HEALTHCHECK").words


def settings() -> dict[str, str]:
    """Return the variables of docker-compose.yml and their defaults."""
    return dict(_SETTING.findall(COMPOSE_FILE))
