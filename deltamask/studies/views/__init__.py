"""Prepared comparisons of what has been measured, one file each. `views` is the registry; importing this fills it."""

from deltamask.base.registry import import_all
from deltamask.studies.views.base import View, best_of, measured_in, ordered, prepared, recorded_with, views

import_all(__name__, __path__)
get, names = views.get, views.names

__all__ = ["View", "best_of", "get", "measured_in", "names", "ordered", "prepared", "recorded_with", "views"]
