"""Registries: what is registered is offered, drawn, documented and tested, without another file being touched.

A package from outside registers the same way. It names a module in an entry point of the registry's group, such as

    [project.entry-points."deltamask.methods"]
    toy = "my_package.toy"

and that module registers what it has when it is imported, which happens when the registry is first asked.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

T = TypeVar("T")

# Each kind of thing: the package that registers ours, whose name is the entry points' group as well.
HOMES = {
    "method": "deltamask.methods",
    "codec": "deltamask.codecs",
    "update codec": "deltamask.codecs.updates",
    "head": "deltamask.heads",
    "dataset": "deltamask.datasets",
    "backbone": "deltamask.backbones",
    "partition": "deltamask.datasets.partitions",
    "attack": "deltamask.attacks",
    "metric": "deltamask.training.metrics",
    "view": "deltamask.studies.views",
}
_registries: dict[str, Registry[Any]] = {}
_loading = threading.RLock()


@functools.cache
def _of_packages() -> Any:
    """The entry points of all that is installed. Looking through it takes ten milliseconds, once for all registries."""
    return entry_points()


class Registry(Generic[T]):
    """Names to things of one kind. A duplicate name raises ValueError; an unknown one KeyError, listing what exists.

    faults: entry points that could not be loaded, and why; the others are there all the same.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.faults: dict[str, str] = {}
        self._entries: dict[str, T] = {}
        self._complete = False
        _registries[kind] = self

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: `@codecs.register("rice")`."""

        def add(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered already")
            self._entries[name] = entry
            return entry

        return add

    def _load_entry_points(self) -> None:
        """Import what other packages register, once. One that fails is named in a warning and in `faults`."""
        with _loading:
            if self._complete:
                return
            self._complete = True  # what is imported below may ask this registry
            for point in _of_packages().select(group=HOMES.get(self.kind, "")):
                try:
                    point.load()
                except Exception as error:  # whatever a stranger's module raises must not take the others down
                    why = self.faults[point.name] = f"{point.value}: {type(error).__name__}: {error}"
                    warnings.warn(f"{self.kind} {point.name!r} cannot be loaded: {why}", stacklevel=4)

    def __getitem__(self, name: str) -> T:
        self._load_entry_points()
        if name not in self._entries:
            broken = f" ({self.faults[name]})" if name in self.faults else ""
            raise KeyError(f"unknown {self.kind} {name!r}{broken}; there are: {', '.join(self._entries)}")
        return self._entries[name]

    def get(self, name: str) -> T:
        """The entry called `name`; KeyError lists what exists."""
        return self[name]

    def names(self) -> list[str]:
        """All names, in the order of registration."""
        self._load_entry_points()
        return list(self._entries)

    def __contains__(self, name: object) -> bool:
        self._load_entry_points()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())


def import_all(package: str, path: Iterable[str]) -> None:
    """Import every module in a package's folder, so that what they register is there. path: the package's __path__."""
    for module in pkgutil.iter_modules(path):
        importlib.import_module(f"{package}.{module.name}")


def find(kind: str) -> Registry[Any]:
    """The registry of a kind of thing, filled: how a config knows what may be chosen. KeyError for an unknown kind."""
    importlib.import_module(HOMES[kind])
    return _registries[kind]
