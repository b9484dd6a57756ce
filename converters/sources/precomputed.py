"""Neuroglancer's precomputed volumes, on disk or at a URL."""

from pathlib import Path

from converters.sources.source import Source, SourceOptions


def open_precomputed(path: Path, options: SourceOptions) -> Source:
    """Return the source of a dataset's folder."""
    raise NotImplementedError


def open_remote(url: str, options: SourceOptions) -> Source:
    """Return the source of a dataset at a URL."""
    raise NotImplementedError
