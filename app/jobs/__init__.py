"""Conversions that the server runs: a queue on the disk, a confined process a job, uploads, and the routes to all of it."""
