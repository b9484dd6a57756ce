"""Meshes of the segments of a volume, and mesh files."""
