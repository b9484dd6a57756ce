"""Zarr, OME-Zarr and N5."""
