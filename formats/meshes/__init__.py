"""Meshes: the legacy and the multi-resolution format (docs/datasource/precomputed/meshes.md). Opens no files."""
