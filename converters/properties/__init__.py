"""Segment properties: names, tags and numbers of a dataset's segments, which several commands write into one table."""
