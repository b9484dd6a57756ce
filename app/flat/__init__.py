"""`/flat/NAME/...`: sharded datasets as if each chunk, skeleton and mesh were a file, for clients and proxies without Range."""

from app.flat.files import flat_app

__all__ = ["flat_app"]
