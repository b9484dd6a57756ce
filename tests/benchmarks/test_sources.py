"""What the peers are asked to write."""

from typing import Any

from benchmarks.sources import with_data_encoding


def test_data_encoding_changes_in_all_scales_and_nothing_else_does() -> None:
    def info(encoding: str) -> dict[str, Any]:
        sharding = {"preshift_bits": 9, "data_encoding": encoding, "minishard_index_encoding": "gzip"}
        return {"type": "image", "scales": [{"key": key, "sharding": dict(sharding)} for key in ("8_8_8", "16_16_16")]}

    given = info("gzip")
    assert with_data_encoding(given, "raw") == info("raw")
    assert given == info("gzip")
