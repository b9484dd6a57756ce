"""Shards: many chunks, or the data of many ids, in one file (docs/datasource/precomputed/sharded.md). Opens no files."""
