"""Attacks: what lying clients send, one file each. `attacks` is the registry; importing this package fills it."""

from deltamask.attacks import honest  # isort: skip  # the first in every list
from deltamask.attacks.base import Attack, Kind, Liar, attacks, kind_of
from deltamask.base.registry import import_all

import_all(__name__, __path__)
get, names = attacks.get, attacks.names

__all__ = ["Attack", "Kind", "Liar", "attacks", "get", "honest", "kind_of", "names"]
