"""The errors of converters.

ConverterError
├── SourceError         a source that cannot be opened, read or understood
│   └── DamagedError    one part of a source cannot be read; other parts may be
├── ValueRefusedError   voxels that no data type of the viewer holds without loss
├── OptionError         an option that is missing or does not fit this source
├── DatasetExistsError  something else is already where the dataset should go
├── DatasetError        a dataset that cannot be read
├── BusyError           another run is writing the dataset
├── DiskFullError       no room is left where the dataset goes
├── TaskError           one task failed in a way that was not foreseen
└── WorkerError         a worker process died, or the cluster is gone
"""


class ConverterError(Exception):
    """Base of every error that converters raises; its message is one sentence for the user."""


class SourceError(ConverterError):
    """A source that cannot be opened, read or understood."""


class DamagedError(SourceError):
    """One part of a source cannot be read; other parts may be."""


class ValueRefusedError(ConverterError):
    """Voxels that no data type of the viewer holds without loss."""


class OptionError(ConverterError):
    """An option that is missing or does not fit this source."""


class DatasetExistsError(ConverterError):
    """Something else is already where the dataset should go."""


class DatasetError(ConverterError):
    """A dataset that cannot be read."""


class BusyError(ConverterError):
    """Another run is writing the dataset."""


class DiskFullError(ConverterError):
    """No room is left where the dataset goes."""


class TaskError(ConverterError):
    """One task failed in a way that was not foreseen; others may not."""


class WorkerError(ConverterError):
    """A worker process died, or the cluster is gone."""
