"""What to expect of a run before it runs, from what was measured, and how far off that is. Needs no torch."""

from deltamask.studies.forecast.hindsight import Hindsight, hindsight
from deltamask.studies.forecast.memory import Forecast, Memory, learn
from deltamask.studies.forecast.ranges import SHARE, Range
from deltamask.studies.forecast.run_time import Time

__all__ = ["SHARE", "Forecast", "Hindsight", "Memory", "Range", "Time", "hindsight", "learn"]
