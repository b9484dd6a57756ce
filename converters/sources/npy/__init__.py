"""Numpy's files."""
