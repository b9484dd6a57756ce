"""What a link shows of a dataset first, whatever it holds: a volume, or meshes or skeletons alone."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.datasets import read_dataset
from app.links import AnyLayer, Layer, ModelLayer
from converters.children import SHOWN
from converters.errors import DatasetError
from converters.meshes.reading import mesh_kind, open_meshes
from converters.skeletons.reading import open_skeletons, parse_alone
from converters.storage.files import read_file
from formats.errors import InfoError


def read_layer(path: Path, name: str) -> AnyLayer:
    """Return the first look at the dataset in a folder, whatever it holds.

    name: its path below the served root. Raises DatasetError, FormatError.
    """
    model = read_model(path, name)
    if model is not None:
        return model
    found = read_dataset(path, name)
    return Layer(found.name, found.info, found.record, found.selected)


def read_model(path: Path, name: str) -> ModelLayer | None:
    """Return the first look at a dataset of meshes or skeletons alone, some of its segments; None for anything else.

    name: its path below the served root. Raises DatasetError for one that cannot be read or that holds nothing.
    """
    data = read_file(path / "info")
    try:
        if data is None:
            return None
        if mesh_kind(data) is not None:
            return _meshes(path, name)
        return None if parse_alone(data) is None else _skeletons(path, name)
    except InfoError as error:
        raise DatasetError(f"{path}: {error}") from error


def _meshes(path: Path, name: str) -> ModelLayer:
    reader = open_meshes(path)
    found = islice((segment for segment in reader.segments().tolist() if reader.holds(segment)), SHOWN)
    # The coarsest level tells where a mesh lies as well as the finest.
    points = {segment: reader.read(segment, reader.levels(segment) - 1).vertices for segment in found}
    return _layer(path, name, points)


def _skeletons(path: Path, name: str) -> ModelLayer:
    reader = open_skeletons(path)
    read = ((segment, reader.read(segment)) for segment in reader.segments())
    found = islice(((segment, one.vertices) for segment, one in read if one is not None and len(one.vertices)), SHOWN)
    matrix = np.array(reader.info.transform).reshape(3, 4)
    return _layer(path, name, {segment: points @ matrix[:, :3].T + matrix[:, 3] for segment, points in found})


def _layer(path: Path, name: str, points: dict[int, NDArray[Any]]) -> ModelLayer:
    """Return the layer of segments whose points, nm, are these."""
    if not points:
        raise DatasetError(f"{path}: holds no mesh or skeleton that could be shown")
    low = np.min([some.min(axis=0) for some in points.values()], axis=0)
    high = np.max([some.max(axis=0) for some in points.values()], axis=0)
    return ModelLayer(name, tuple(points), _corner(low), _corner(high))


def _corner(place: Iterable[float]) -> tuple[float, float, float]:
    x, y, z = map(float, place)
    return x, y, z
