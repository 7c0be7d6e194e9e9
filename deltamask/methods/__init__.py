"""Methods: one file each, reading like its paper. `methods` is the registry; importing this package fills it."""

from deltamask.methods import deltamask, fedpm, linear_probe
from deltamask.methods.base import Method, methods

get, names = methods.get, methods.names

__all__ = ["Method", "deltamask", "fedpm", "get", "linear_probe", "methods", "names"]
