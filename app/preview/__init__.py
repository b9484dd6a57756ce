"""Datasets that are being written, as the viewer can have them open meanwhile: `info` from the plan, chunks from the source."""

from app.preview.allowed import is_allowed
from app.preview.computing import Previews
from app.preview.files import previewed_app

__all__ = ["Previews", "is_allowed", "previewed_app"]
