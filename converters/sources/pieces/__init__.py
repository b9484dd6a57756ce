"""Volumes in many files, each a source."""
