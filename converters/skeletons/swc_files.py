"""The skeletons of a dataset as SWC files, for programs that read nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from converters.errors import OptionError
from converters.skeletons.reading import SkeletonReader
from converters.storage.files import write_file
from formats.errors import EncodeError
from formats.skeletons.swc import format_swc

SwcUnit = Literal["nm", "um"]


def write_swc_files(reader: SkeletonReader, folder: Path, unit: SwcUnit, told: Callable[[int, int], None]) -> int:
    """Write `ID.swc` for each skeleton and return how many there are; files of these names are replaced.

    told: called with how many are done, and of how many. Raises DatasetError, DiskFullError, and OptionError where the folder
    cannot be made or a skeleton is no tree.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"--swc {folder}: no folder can be made there ({error.strerror})") from error
    segments = reader.segments()
    for done, segment in enumerate(segments, 1):
        skeleton = reader.read(segment)
        if skeleton is not None:
            try:
                text = format_swc(skeleton, unit, str(segment))
            except EncodeError as error:
                raise OptionError(f"--swc: segment {segment} cannot be written ({error})") from error
            write_file(folder / f"{segment}.swc", text.encode())
        told(done, len(segments))
    return len(segments)
