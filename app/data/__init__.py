"""`/data/NAME/...`: the files of datasets under the viewer's flat names, whatever layout lies on the disk."""

from app.data.route import DataApp

__all__ = ["DataApp"]
