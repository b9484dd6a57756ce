"""Neuroglancer's precomputed format: bytes to arrays and models, and back. No files, HTTP, processes or logging."""
