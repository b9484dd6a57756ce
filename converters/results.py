"""What one block's work gave, and the same as JSON for the journal."""

import base64
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class BlockResult:
    """What one block's work gave: counts, the largest error of a data type change, and what the contrast is made from.

    voxels: source or spool voxels done. segments: done. stored_bytes: of chunks or shards as they are on disk.
    """

    voxels: int = 0
    chunks: int = 0
    empty_chunks: int = 0
    stored_bytes: int = 0
    largest_error: float = 0.0
    sample: NDArray[Any] | None = None
    segments: int = 0


def encode_result(result: BlockResult) -> dict[str, Any]:
    """Return the result JSON-able; members that are 0 are left out."""
    members = {name: value for name, value in asdict(result).items() if name != "sample" and value}
    if result.sample is not None:
        members["sample"] = _encode_array(result.sample)
    return members


def decode_result(members: dict[str, Any]) -> BlockResult:
    """Return the result that encode_result made JSON-able."""
    sample = members.get("sample")
    return BlockResult(**{**members, "sample": None if sample is None else _decode_array(sample)})


def _encode_array(array: NDArray[Any]) -> dict[str, Any]:
    data = base64.b64encode(array.tobytes("F")).decode()
    return {"dtype": array.dtype.str, "shape": array.shape, "data": data}


def _decode_array(members: dict[str, Any]) -> NDArray[Any]:
    flat = np.frombuffer(base64.b64decode(members["data"]), members["dtype"])
    return flat.reshape(members["shape"], order="F")
