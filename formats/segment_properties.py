"""The `info` of segment properties (docs/datasource/precomputed/segment_properties.md)."""

import json
from collections.abc import Mapping

SEGMENT_PROPERTIES = "neuroglancer_segment_properties"


def encode_labels(names: Mapping[int, str]) -> bytes:
    """Return the info that gives segments their names, the same bytes for the same names.

    names: by id. Ids stand in ascending order, because the viewer takes a list whose first id is the smallest for a sorted one.
    """
    ids = sorted(names)
    label = {"id": "name", "type": "label", "values": [names[segment] for segment in ids]}
    inline = {"ids": [str(segment) for segment in ids], "properties": [label]}
    return json.dumps({"@type": SEGMENT_PROPERTIES, "inline": inline}, ensure_ascii=False, indent=1).encode() + b"\n"
