"""Which dataset and scale a folder in a URL is of, looked up on the disk, so that labels are names of what exists."""

import os
import posixpath
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from app.access.grants import split_grant
from app.data.lookup import is_servable
from app.datasets import dataset_path
from app.metrics.asked import FILE, MESH, PREFIXES, SKELETON
from formats.errors import FormatError
from formats.info import VOLUME
from formats.members import read_json
from formats.meshes.info import MESHES
from formats.skeletons.info import SKELETONS

OTHER = "other"
"""The label of what is no dataset, or one of too many."""
ROOT_NAME = "."
"""The label of the served folder where it is a dataset itself."""

_DEEPEST_KEY = 4
"""Folders between an info and the chunks of a scale."""
_LARGEST_INFO = 1 << 20
"""Bytes; a scale has some hundred."""
_MOST_KEPT = 4096
_KNOWN_SECONDS = 60.0
_UNKNOWN_SECONDS = 5.0
"""How long what was found is taken as it was, and for how long that there is nothing."""
_CHILDREN = {"mesh": MESH, "skeletons": SKELETON}
"""What a member of a volume's info names the folder of, which need not have an info of its own."""
_KINDS = {**dict.fromkeys(MESHES, MESH), SKELETONS: SKELETON}


class Place(NamedTuple):
    """What a folder is. kind: of its files. dataset, scale: OTHER where it belongs to none."""

    kind: str = FILE
    dataset: str = OTHER
    scale: str = OTHER


NOWHERE = Place()


class Folders:
    """What the folders are that were asked for last; use it in one thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: OrderedDict[str, tuple[float, Place]] = OrderedDict()
        self._unknown: OrderedDict[str, tuple[float, Place]] = OrderedDict()
        self._infos: dict[str, Mapping[str, Any] | None] = {}

    def is_known(self, folder: str) -> bool:
        """Tell whether a folder was found to be of a dataset; any thread may ask."""
        return _below_prefix(folder) in self._known

    def places(self, folders: Iterable[str]) -> dict[str, Place]:
        """Return what folders are. folders: of URLs, decoded, without a slash at their ends."""
        try:
            return {folder: self._place(_below_prefix(folder)) for folder in folders}
        finally:
            self._infos.clear()

    def _place(self, name: str | None) -> Place:
        if name is None:
            return NOWHERE
        for kept in (self._known, self._unknown):
            expires, place = kept.get(name, (0.0, NOWHERE))
            if time.monotonic() < expires:
                return place
        place = self._look(name)
        if place.kind != FILE or place.scale != OTHER:
            _keep(self._known, name, place, _KNOWN_SECONDS)
        else:
            # Names that are made up must not take the room of those that are known.
            self._known.pop(name, None)
            _keep(self._unknown, name, place, _UNKNOWN_SECONDS)
        return place

    def _look(self, name: str) -> Place:
        """Return what the infos in a folder and above it tell."""
        above, key = name, ""
        for _ in range(_DEEPEST_KEY + 1):
            if above not in self._infos:
                self._infos[above] = _read_info(self._root, above)
            info = self._infos[above]
            if info is not None:
                return _place_beside(above or ROOT_NAME, key, info)
            if not above:
                return NOWHERE
            above, _, part = above.rpartition("/")
            key = f"{part}/{key}" if key else part
        return NOWHERE


def _keep(kept: OrderedDict[str, tuple[float, Place]], name: str, place: Place, seconds: float) -> None:
    kept[name] = (time.monotonic() + seconds, place)
    kept.move_to_end(name)
    if len(kept) > _MOST_KEPT:
        kept.popitem(last=False)


def _read_info(root: Path, name: str) -> Mapping[str, Any] | None:
    """Return the members of the info in a folder, None where there is none that can be read."""
    try:
        # Most have none, which is told faster than whether links lead out of the root.
        path = dataset_path(root, name) if os.path.isfile(f"{root}/{name}/info") else None
        if path is None:
            return None
        with open(path / "info", "rb") as file:
            data = file.read(_LARGEST_INFO + 1)
        info = read_json(data) if len(data) <= _LARGEST_INFO else None
    except (OSError, ValueError, RuntimeError, FormatError):  # RuntimeError: links that go round in a circle
        return None
    return info if isinstance(info, dict) else None


def _below_prefix(folder: str) -> str | None:
    """Return the path of a folder below the root, None for what can be none."""
    prefix = next((one for one in PREFIXES if f"{folder}/".startswith(one)), None)
    if prefix is None:
        return None
    _, path = split_grant(folder[len(prefix) - 1 :])
    return path.removeprefix("/") if is_servable(path) or not path else None


def _place_beside(dataset: str, key: str, info: Mapping[str, Any]) -> Place:
    """Return what lies under a key beside an info."""
    kind = str(info.get("@type", VOLUME))
    if kind != VOLUME:
        return Place(_KINDS.get(kind, FILE)) if not key else NOWHERE
    for member, its_kind in _CHILDREN.items():
        if key and key in _folders([info.get(member)]):
            return Place(its_kind, dataset)
    scales = info.get("scales")
    keys = [scale.get("key") for scale in scales if isinstance(scale, dict)] if isinstance(scales, list) else []
    return Place(FILE, dataset, key if key in _folders(keys) else OTHER)


def _folders(keys: Iterable[object]) -> set[str]:
    """Return the folders that members of an info name, relative to the info's."""
    return {posixpath.normpath(key) for key in keys if isinstance(key, str)}
