"""Viewer links: from what is known of a dataset to `BASE/v/TOKEN/#!{state}`. Pure functions, no files, no HTTP.

The state is the viewer's own JSON. In it a layer's `matrix` takes lengths to lengths: its linear part has no unit, its
translation is in units of `outputDimensions`, which are nanometres here.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote

from converters.errors import OptionError
from converters.geometry import Affine, Lengths
from converters.record import Contrast, Record
from formats.info import VolumeInfo

TOKEN = "glassine"
"""The TOKEN of `/v/TOKEN/`: the client wants one, and one viewer serves all links."""

Quaternion = tuple[float, float, float, float]

_PANEL = (560, 330)
"""Pixels, width and height, of a panel in a window of about 1200 x 750: what a whole volume is fitted into."""
_MARGIN = 1.1
_NEARER = 1.25
"""How much larger perspective makes the near side of a box than its middle."""
_OVERLAY_OPACITY = 0.3
"""Of labels over an image: the image is still seen."""
_AROUND_THE_VOLUME = "#202020"
"""Not black: where the volume ends is seen."""
_DIMENSIONS = ("x", "y", "z")
_AS_STORED: Quaternion = (0.0, 0.0, 0.0, 1.0)
_UPRIGHT: Quaternion = (0.0, math.sqrt(0.5), -math.sqrt(0.5), 0.0)
"""Half a turn that shows RAS as a radiologist sees it: superior up in the first and last slice panels, anterior up in the second
one, the patient's right on the left. No other rotation has all three panels upright."""
_TILT_DOWN, _TILT_ASIDE = math.radians(20), math.radians(30)
_LEAST = 1e-3
"""nm: a box without extent has a view too."""
_COLOURS = ("#ff00ff", "#00ff00", "#00ffff", "#ffff00", "#ff0000", "#0000ff", "#ffffff")


@dataclass(frozen=True)
class Layer:
    """A dataset that a link shows.

    name: its path below the served root, with slashes, as in `/data/NAME`. selected: ids of the segments whose meshes are shown.
    grant: stands in front of the name in the URL of a dataset that not everybody may read.
    """

    name: str
    info: VolumeInfo
    record: Record | None = None
    selected: tuple[int, ...] = ()
    grant: str = ""


@dataclass(frozen=True)
class ModelLayer:
    """A dataset of meshes or of skeletons alone.

    name, grant: as of a Layer. selected: ids of the segments that are shown. low, high: corners of the box around them, nm.
    """

    name: str
    selected: tuple[int, ...]
    low: Lengths
    high: Lengths
    grant: str = ""


AnyLayer = Layer | ModelLayer


def dataset_name(dataset: Path, root: Path) -> str:
    """Return the name of a dataset in URLs: its path below the served root; "" when it is the root itself.

    Raises OptionError for a dataset that is not below root.
    """
    # Not resolved: a link to a dataset elsewhere on the disk has the name of the link.
    here, top = dataset.absolute(), root.absolute()
    parts = [part for part in here.parts if part != "."]
    if ".." in here.parts or ".." in top.parts:
        here, top = dataset.resolve(), root.resolve()
        parts = list(here.parts)
    if tuple(parts[: len(top.parts)]) != top.parts:
        raise OptionError(f"{dataset} is not below the served folder {root}: give the folder that is served with --root")
    return "/".join(parts[len(top.parts) :])


def viewer_link(layers: Sequence[AnyLayer], base_url: str) -> str:
    """Return the link that opens the layers in the viewer that base_url serves (`http://127.0.0.1:8080`)."""
    base = base_url.rstrip("/")
    state = json.dumps(viewer_state(layers, base), separators=(",", ":"))
    return f"{base}/v/{TOKEN}/#!{quote(state, safe=':,/')}"


def viewer_state(layers: Sequence[AnyLayer], base_url: str) -> dict[str, Any]:
    """Return the viewer's state for one layer or more: images below segmentations, the whole first volume in view.

    Where there is none, the selected segments of the first layer are in view, in 3-D alone: there are no slices.
    """
    ordered = sorted(layers, key=_rank)
    view = _model_view(ordered[0]) if isinstance(ordered[0], ModelLayer) else _view(ordered[0])
    names = _layer_names(ordered)
    return {
        "dimensions": {name: [unit / 1e9, "m"] for name, unit in zip(_DIMENSIONS, view.unit, strict=True)},
        "position": list(view.position),
        "crossSectionOrientation": list(view.orientation),
        "crossSectionScale": view.cross_section_scale,
        "projectionOrientation": list(_tilted(view.orientation)),
        "projectionScale": view.projection_scale,
        "layers": _layers(ordered, names, base_url),
        "crossSectionBackgroundColor": _AROUND_THE_VOLUME,
        "hideCrossSectionBackground3D": True,
        "layout": "3d" if isinstance(ordered[0], ModelLayer) else "4panel",
        "title": " + ".join(names),
    }


def _rank(layer: AnyLayer) -> int:
    """Return where a layer comes: images first, then segmentations, then what has no voxels."""
    return 2 if isinstance(layer, ModelLayer) else int(layer.info.type == "segmentation")


def _layer_names(layers: Sequence[AnyLayer]) -> list[str]:
    """Return the last parts of the datasets' names, the whole names where those are not unique."""
    short = [layer.name.rsplit("/", 1)[-1] or "dataset" for layer in layers]
    return short if len(set(short)) == len(short) else [layer.name for layer in layers]


def _layers(layers: Sequence[AnyLayer], names: Sequence[str], base_url: str) -> list[dict[str, Any]]:
    shown = [_layer(layer, name, base_url) for layer, name in zip(layers, names, strict=True)]
    if any(layer["type"] == "image" for layer in shown):
        for layer in shown:
            if layer["type"] == "segmentation":
                layer["selectedAlpha"] = _OVERLAY_OPACITY
    return shown


def _layer(layer: AnyLayer, name: str, base_url: str) -> dict[str, Any]:
    path = f"{layer.grant}/{layer.name}" if layer.grant else layer.name
    source: dict[str, Any] = {"url": f"precomputed://{base_url}/data/{quote(path)}".rstrip("/")}
    if isinstance(layer, ModelLayer):
        return {"type": "segmentation", "source": source, **_segments(layer.selected), "name": name}
    transform = layer.record.transform if layer.record else None
    if transform is not None:
        source["transform"] = {
            "matrix": [list(row) for row in transform],
            "outputDimensions": {dimension: [1e-9, "m"] for dimension in _DIMENSIONS},
        }
    if layer.info.type == "segmentation":
        return {"type": "segmentation", "source": source, **_segments(layer.selected), "name": name}
    contrast = layer.record.contrast if layer.record else ()
    return {"type": "image", "source": source, **_shading(layer.info, contrast), "name": name}


def _segments(selected: Sequence[int]) -> dict[str, list[str]]:
    # As text: JSON's numbers lose digits above 2**53.
    return {"segments": [str(segment) for segment in selected]} if selected else {}


# Where to look ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _View:
    """What the viewer shows first.

    unit: nm of one step of x, y, z. position: in units. Scales, in the smallest unit: one of a pixel, one of a panel's height.
    """

    unit: Lengths
    position: Lengths
    orientation: Quaternion
    cross_section_scale: float
    projection_scale: float


def _view(layer: Layer) -> _View:
    """Return the view of the whole layer, its middle voxel in the cross.

    A layer without transform has its voxels for units, so that positions are voxels. With one, the unit is the smallest voxel
    edge along every axis (mm for a brain at 1 mm), so that a step through the slices misses none.
    """
    scale = layer.info.scales[0]
    transform = layer.record.transform if layer.record else None
    x, y, z = scale.resolution
    unit = (x, y, z) if transform is None else (min(scale.resolution),) * 3
    corners = [_world(transform, _lengths(corner, scale.resolution)) for corner in _corners(scale.voxel_offset, scale.size)]
    extent = [max(c[i] for c in corners) - min(c[i] for c in corners) for i in range(3)]
    middle = [offset + size // 2 + 0.5 for offset, size in zip(scale.voxel_offset, scale.size, strict=True)]
    centre = _world(transform, _lengths(middle, scale.resolution))
    upright = layer.record is not None and layer.record.world == "RAS"
    orientation = _UPRIGHT if upright else _AS_STORED
    return _View(
        unit=unit,
        position=_triple(round(c / u, 6) for c, u in zip(centre, unit, strict=True)),
        orientation=orientation,
        cross_section_scale=_significant(_nm_a_pixel(extent, upright) / min(unit)),
        projection_scale=_significant(_nm_a_panel(extent, _tilted(orientation)) / min(unit)),
    )


def _model_view(layer: ModelLayer) -> _View:
    """Return the view of the box around what is selected, in nm."""
    extent = [high - low for low, high in zip(layer.low, layer.high, strict=True)]
    return _View(
        unit=(1.0, 1.0, 1.0),
        position=_triple(round((low + high) / 2, 3) for low, high in zip(layer.low, layer.high, strict=True)),
        orientation=_AS_STORED,
        cross_section_scale=_significant(max(_nm_a_pixel(extent, False), _LEAST)),
        projection_scale=_significant(max(_nm_a_panel(extent, _tilted(_AS_STORED)), _LEAST)),
    )


def _nm_a_pixel(extent: Sequence[float], upright: bool) -> float:
    """Return nm a pixel at which each panel holds its slice: they show xy, xz and zy, or of upright brains xz, xy and yz."""
    x, y, z = extent
    panels = ((x, z), (x, y), (y, z)) if upright else ((x, y), (x, z), (z, y))
    width, height = _PANEL
    return _MARGIN * max(max(across / width, down / height) for across, down in panels)


def _nm_a_panel(extent: Sequence[float], orientation: Quaternion) -> float:
    """Return nm a height of the 3-D panel at which it holds the whole box, seen in this orientation."""
    across, down = (
        sum(abs(part) * length for part, length in zip(_rotated(orientation, axis), extent, strict=True))
        for axis in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    )
    width, height = _PANEL
    return _MARGIN * _NEARER * max(down, across * height / width)


def _corners(voxel_offset: Sequence[int], size: Sequence[int]) -> list[Sequence[float]]:
    return list(product(*((offset, offset + n) for offset, n in zip(voxel_offset, size, strict=True))))


def _lengths(voxels: Sequence[float], resolution: Sequence[float]) -> Lengths:
    return _triple(v * r for v, r in zip(voxels, resolution, strict=True))


def _world(transform: Affine | None, point: Lengths) -> Lengths:
    """Return where a point of the dataset (nm) lies in the world (nm)."""
    if transform is None:
        return point
    return _triple(a * point[0] + b * point[1] + c * point[2] + d for a, b, c, d in transform)


def _tilted(orientation: Quaternion) -> Quaternion:
    """Return the orientation of the 3-D view: the slices' one, seen from above and aside, so that all three are seen."""
    down = (-math.sin(_TILT_DOWN / 2), 0.0, 0.0, math.cos(_TILT_DOWN / 2))
    aside = (0.0, math.sin(_TILT_ASIDE / 2), 0.0, math.cos(_TILT_ASIDE / 2))
    x, y, z, w = _rotation_product(orientation, _rotation_product(aside, down))
    return round(x, 6), round(y, 6), round(z, 6), round(w, 6)


def _rotation_product(a: Quaternion, b: Quaternion) -> Quaternion:
    """Return the rotation b followed by the rotation a (Hamilton's product; x, y, z, w)."""
    (ax, ay, az, aw), (bx, by, bz, bw) = a, b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def _rotated(rotation: Quaternion, vector: Lengths) -> Lengths:
    x, y, z, w = rotation
    turned = _rotation_product(_rotation_product(rotation, (*vector, 0.0)), (-x, -y, -z, w))
    return turned[:3]


def _significant(value: float) -> float:
    return float(f"{value:.4g}")


def _triple(numbers: Any) -> Lengths:
    x, y, z = numbers
    return x, y, z


# How an image is painted --------------------------------------------------------------------------------------------------------


def _shading(info: VolumeInfo, contrast: Sequence[Contrast]) -> dict[str, Any]:
    """Return shader and shaderControls: grey, red-green-blue(-alpha) bytes, a colour a channel, or one of many channels."""
    channels = info.num_channels
    if channels == 1:
        return {"shader": _GREY, "shaderControls": {"normalized": _range(info.data_type, contrast[0])} if contrast else {}}
    if channels in (3, 4) and info.data_type == "uint8":
        return {"shader": _RGB if channels == 3 else _RGBA}
    if channels > len(_COLOURS):
        controls = {"normalized": _range(info.data_type, _widest(contrast))} if contrast else {}
        return {"shader": _one_of_many(channels), "shaderControls": controls}
    ranges = {f"channel{i}": _range(info.data_type, c) for i, c in enumerate(contrast[:channels])}
    return {"shader": _colours(channels), "shaderControls": ranges}


_GREY = """#uicontrol invlerp normalized
void main() {
  emitGrayscale(normalized());
}
"""
_RGB = """void main() {
  emitRGB(vec3(toNormalized(getDataValue(0)), toNormalized(getDataValue(1)), toNormalized(getDataValue(2))));
}
"""
_RGBA = """void main() {
  emitRGBA(vec4(toNormalized(getDataValue(0)), toNormalized(getDataValue(1)), toNormalized(getDataValue(2)),
                toNormalized(getDataValue(3))));
}
"""


def _colours(channels: int) -> str:
    """Return a shader that adds up the channels, each in a colour and with a contrast of its own."""
    controls = [
        f'#uicontrol invlerp channel{i}(channel={i})\n#uicontrol vec3 colour{i} color(default="{colour}")'
        for i, colour in enumerate(_COLOURS[:channels])
    ]
    total = " + ".join(f"colour{i} * channel{i}()" for i in range(channels))
    return "\n".join(controls) + f"\nvoid main() {{\n  emitRGB({total});\n}}\n"


def _one_of_many(channels: int) -> str:
    """Return a shader that shows one channel, chosen with a slider."""
    return (
        f"#uicontrol int channel slider(min=0, max={channels - 1}, default=0)\n#uicontrol invlerp normalized\n"
        "void main() {\n  emitGrayscale(normalized(getDataValue(channel)));\n}\n"
    )


def _widest(contrast: Sequence[Contrast]) -> Contrast:
    return Contrast(
        low=min(c.low for c in contrast),
        high=max(c.high for c in contrast),
        minimum=min(c.minimum for c in contrast),
        maximum=max(c.maximum for c in contrast),
    )


def _range(data_type: str, contrast: Contrast) -> dict[str, Any]:
    """Return the grey values that are black and white, and the ends of the histogram's axis.

    A range without extent would divide by zero in the shader: one of its ends is moved.
    """
    low, high = _ends(data_type, contrast.low, contrast.high)
    minimum, maximum = _ends(data_type, min(contrast.minimum, contrast.low), max(contrast.maximum, contrast.high))
    if data_type == "uint64":  # JSON numbers lose digits above 2**53; the viewer takes text
        return {"range": [str(low), str(high)], "window": [str(minimum), str(maximum)]}
    return {"range": [low, high], "window": [minimum, maximum]}


def _ends(data_type: str, low: float, high: float) -> tuple[float, float]:
    if data_type == "float32":
        return (low, high) if high > low else (low - (abs(low) or 1.0), low)
    lower, upper = math.floor(low), math.ceil(high)
    if upper > lower:
        return lower, upper
    return (lower - 1, lower) if lower > 0 else (lower, lower + 1)  # never out of the data type's own range
