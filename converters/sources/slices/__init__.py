"""Stacks of slices, one file a slice."""
