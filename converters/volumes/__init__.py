"""Volumes: a source's voxels as chunks at every scale."""
