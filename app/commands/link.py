"""`glassine link`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from app.datasets import read_dataset
from app.links import AnyLayer, Layer, dataset_name, viewer_link
from app.models import read_model
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

    The link holds the layer, its contrast, its place in the world, some segments that have meshes or skeletons, and a first view
    of the whole. It works while `glassine serve` serves the folder ROOT at that URL.

    Parameters
    ----------
    dataset
        The folder of a dataset: a volume, or meshes or skeletons alone.
    more
        Datasets to show in the same view, such as a segmentation over its image.
    """
    served = root if root is not None else dataset.absolute().parent
    print(viewer_link([_layer(path, dataset_name(path, served)) for path in (dataset, *more)], url))
    return 0


def _layer(path: Path, name: str) -> AnyLayer:
    model = read_model(path, name)
    if model is not None:
        return model
    found = read_dataset(path, name)
    return Layer(found.name, found.info, found.record, found.selected)
