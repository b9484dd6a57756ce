"""`/data/NAME/...`: the files of datasets under the viewer's flat names, whatever layout lies on the disk."""

from app.data.route import data_app

__all__ = ["data_app"]
