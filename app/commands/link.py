"""`glassine link`."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from app.access.grants import make_grant, seconds_of
from app.access.tokens import link_key
from app.links import AnyLayer, dataset_name, viewer_link
from app.models import read_layer
from app.settings import read_access_settings
from converters.errors import OptionError
from converters.options import ServeOptions

_SERVED = ServeOptions.model_validate({})


def link(
    dataset: Path,
    /,
    *more: Path,
    url: Annotated[str, Parameter(help="Where the server is reached.")] = f"http://{_SERVED.host}:{_SERVED.port}",
    root: Annotated[Path | None, Parameter(help="The folder that is served; DATASET's parent when left out.")] = None,
    expires: Annotated[
        str | None,
        Parameter(help="How long the link lets whoever has it read DATASET: 30m, 12h or 7d; signed with GLASSINE_TOKEN."),
    ] = None,
) -> int:
    """Print the link that opens DATASET in the viewer, and nothing else.

    The link holds the layer, its contrast, its place in the world, some segments that have meshes or skeletons, and a first view
    of the whole. It works while `glassine serve` serves the folder ROOT at that URL. What is private on a server with a token is
    seen through links that expire.

    Parameters
    ----------
    dataset
        The folder of a dataset: a volume, or meshes or skeletons alone.
    more
        Datasets to show in the same view, such as a segmentation over its image.
    """
    served = root if root is not None else dataset.absolute().parent
    layers = [read_layer(path, dataset_name(path, served)) for path in (dataset, *more)]
    if expires is not None:
        layers = _granted(layers, expires)
    print(viewer_link(layers, url))
    return 0


def _granted(layers: Sequence[AnyLayer], duration: str) -> list[AnyLayer]:
    """Return layers as a link shows them that ends after a duration. Raises OptionError without a token to sign it with."""
    until = int(time.time()) + seconds_of(duration)
    token = read_access_settings().token
    if token is None:
        raise OptionError("--expires: a link is signed with the server's token; set GLASSINE_TOKEN or GLASSINE_TOKEN_FILE to it")
    return [replace(layer, grant=make_grant(link_key(token), layer.name, until)) for layer in layers]
