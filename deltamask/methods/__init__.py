"""Methods: one file each, reading like its paper. `methods` is the registry; importing this package fills it."""

from deltamask.base.registry import import_all
from deltamask.methods.base import Method, methods

import_all(__name__, __path__)
get, names = methods.get, methods.names

__all__ = ["Method", "get", "methods", "names"]
