"""Datasets that are being written, as the viewer can have them open meanwhile: `info` from the plan, chunks from the source."""

from app.preview.allowed import is_allowed
from app.preview.computing import Previews
from app.preview.files import previewed_app
from app.preview.layer import layer_of_run, planned_layer

__all__ = ["Previews", "is_allowed", "layer_of_run", "planned_layer", "previewed_app"]
