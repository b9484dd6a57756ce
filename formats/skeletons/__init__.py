"""Skeletons (docs/datasource/precomputed/skeletons.md), and SWC, in which other programs keep them. Opens no files."""
