"""TIFF files of every kind."""
