"""`glassine link`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from app.datasets import read_dataset
from app.links import Layer, dataset_name, viewer_link
from converters.options import ServeOptions

_SERVED = ServeOptions.model_validate({})


def link(
    dataset: Path,
    /,
    *more: Path,
    url: Annotated[str, Parameter(help="Where the server is reached.")] = f"http://{_SERVED.host}:{_SERVED.port}",
    root: Annotated[Path | None, Parameter(help="The folder that is served; DATASET's parent when left out.")] = None,
) -> int:
    """Print the link that opens DATASET in the viewer, and nothing else.

    The link holds the layer, its contrast, its place in the world and a first view of the whole volume. It works while
    `glassine serve` serves the folder ROOT at that URL.

    Parameters
    ----------
    dataset
        The folder of a dataset.
    more
        Datasets to show in the same view, such as a segmentation over its image.
    """
    served = root if root is not None else dataset.absolute().parent
    layers = []
    for path in (dataset, *more):
        found = read_dataset(path, dataset_name(path, served))
        layers.append(Layer(found.name, found.info, found.record, found.selected))
    print(viewer_link(layers, url))
    return 0
