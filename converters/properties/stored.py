"""The segment properties that a dataset has, read and written."""

from dataclasses import dataclass
from pathlib import Path

from converters.errors import DatasetError
from converters.storage.any_layout import AnyLayoutStorage
from converters.storage.files import write_file
from formats.errors import FormatError
from formats.segment_properties import SegmentProperties, encode_segment_properties, parse_segment_properties

FOLDER = "segment_properties"
"""The properties' folder in a dataset, and what its info calls it."""


@dataclass(frozen=True)
class StoredProperties:
    """The properties of a dataset. owner: the folder whose info names them; member: as what, None where it does not."""

    owner: Path
    member: str | None

    @property
    def is_elsewhere(self) -> bool:
        """Tell whether they lie at a URL, where nothing is read or written."""
        return self.member is not None and "://" in self.member

    def read(self) -> SegmentProperties:
        """Return the properties, none where there are none. Raises DatasetError for what the viewer would refuse too."""
        if self.member is None:
            return SegmentProperties()
        folder = self.owner / self.member
        try:
            data = AnyLayoutStorage(folder).get("info")
            if data is None:
                raise DatasetError(
                    f"{self.owner}: its info names segment properties, {self.member}, that are not there; take the member "
                    "segment_properties out of the info, or put them back"
                )
            return parse_segment_properties(data)
        except (FormatError, OSError) as error:
            raise DatasetError(f"{folder}: {error}") from error

    def write(self, properties: SegmentProperties) -> str:
        """Write properties into the dataset at once, and return what its info is to call them. Raises DiskFullError."""
        write_file(self.owner / FOLDER / "info", encode_segment_properties(properties))
        return FOLDER
