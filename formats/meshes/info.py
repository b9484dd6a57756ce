"""The `info` of a folder of meshes (docs/datasource/precomputed/meshes.md), as strict as the viewer reads it.

Unknown members are kept and written again. `null` is refused: the viewer does not take it for a member left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from formats.info import Sharding, sharding_members, take_sharding
from formats.members import (
    IDENTITY,
    Members,
    Transform,
    UnexpectedError,
    number,
    object_text,
    one_of,
    plain,
    present,
    read_json,
    string,
    transform,
)
from formats.meshes.multires import QUANTIZATION_BITS

LEGACY = "neuroglancer_legacy_mesh"
MULTIRES = "neuroglancer_multilod_draco"
MESHES = (LEGACY, MULTIRES)


@dataclass(frozen=True)
class LegacyMeshInfo:
    """The info of single-resolution meshes.

    segment_properties: a folder relative to the info. extra: members that the format does not name.
    """

    segment_properties: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class MultiresMeshInfo:
    """The info of multi-resolution meshes.

    vertex_quantization_bits: 10 or 16. lod_scale_multiplier: of the scales in each manifest. sharding: of the manifests, None
    where each is a file. segment_properties: a folder relative to the info. extra: members that the format does not name.
    """

    vertex_quantization_bits: int
    lod_scale_multiplier: float = 1.0
    transform: Transform = IDENTITY
    sharding: Sharding | None = None
    segment_properties: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)


MeshInfo = LegacyMeshInfo | MultiresMeshInfo


def parse_mesh_info(data: bytes) -> MeshInfo:
    """Return what the info of meshes of either kind tells.

    Raises InfoError, naming the member, for one that the viewer would refuse.
    """
    members = Members("info", read_json(data))
    if members.take("@type", one_of(MESHES)) == LEGACY:
        return LegacyMeshInfo(segment_properties=members.optional("segment_properties", string, None), extra=members.left)
    return MultiresMeshInfo(
        vertex_quantization_bits=members.take("vertex_quantization_bits", _bits),
        lod_scale_multiplier=members.take("lod_scale_multiplier", _multiplier),
        transform=members.optional("transform", transform, IDENTITY),
        sharding=take_sharding(members),
        segment_properties=members.optional("segment_properties", string, None),
        extra=members.left,
    )


def encode_mesh_info(info: MeshInfo) -> bytes:
    """Return the info as JSON, the same bytes for the same info. Raises InfoError for one that the viewer would refuse."""
    members = {**_members(info), **present({"segment_properties": info.segment_properties}), **info.extra}
    data = (object_text(members, " ") + "\n").encode()
    parse_mesh_info(data)
    return data


def _members(info: MeshInfo) -> dict[str, Any]:
    if isinstance(info, LegacyMeshInfo):
        return {"@type": LEGACY}
    return {
        "@type": MULTIRES,
        "vertex_quantization_bits": info.vertex_quantization_bits,
        "lod_scale_multiplier": plain(info.lod_scale_multiplier),
        "transform": [plain(value) for value in info.transform],
        **({"sharding": sharding_members(info.sharding)} if info.sharding else {}),
    }


def _bits(value: Any) -> int:
    bits = number(value)
    if bits not in QUANTIZATION_BITS:
        raise UnexpectedError(" or ".join(str(bits) for bits in QUANTIZATION_BITS))
    return int(bits)


def _multiplier(value: Any) -> float:
    multiplier = number(value)
    if multiplier is None or multiplier <= 0:
        raise UnexpectedError("a finite number above 0")
    return float(multiplier)
