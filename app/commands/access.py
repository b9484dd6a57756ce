"""`glassine access`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from app.access.rules import Level, Rules, read_table, write_level
from app.links import dataset_name
from converters.errors import OptionError


def access(
    dataset: Path,
    level: Level | None = None,
    /,
    *,
    root: Annotated[Path | None, Parameter(help="The folder that is served; DATASET's parent when left out.")] = None,
) -> int:
    """Make DATASET public or private where a server with a token serves it, or print which of both it is.

    What is public everybody may read who reaches the server. The rules lie in ROOT/.glassine/access.json, and servers know them
    within a second. The longest path decides for all below it, and ROOT itself stands for all that is not named.

    Parameters
    ----------
    dataset
        The folder of a dataset, or one that holds several.
    level
        public or private; left out, nothing is changed.
    """
    served = root if root is not None else dataset.absolute().parent
    if not dataset.is_dir():
        raise OptionError(f"{dataset}: there is no such folder; give that of a dataset, or one that holds several")
    name = dataset_name(dataset, served)
    if level is None:
        read_table(served)
        print(Rules(served).level(name))
        return 0
    write_level(served, name, level)
    print(f"{name or 'all that is not named'} is {level} on servers of {served}")
    return 0
