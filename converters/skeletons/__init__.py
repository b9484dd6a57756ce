"""Skeletons of segments: traced by kimimaro in blocks, joined, written."""
