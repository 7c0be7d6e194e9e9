"""Registries: what is registered is offered, and what is offered is tested."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to things of one kind. A duplicate name raises ValueError; an unknown one KeyError, listing what exists."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._families: dict[str, tuple[str, Callable[[str], T]]] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: `@codecs.register("rice")`."""

        def add(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered already")
            self._entries[name] = entry
            return entry

        return add

    def family(self, prefix: str, what: str) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
        """Decorator: `@backbones.family("timm", "NAME")` answers every `timm:NAME`, from what stands after the colon.

        The function raises KeyError for a name it does not know.
        """

        def add(entry: Callable[[str], T]) -> Callable[[str], T]:
            self._families[prefix] = (what, entry)
            return entry

        return add

    def __getitem__(self, name: str) -> T:
        if name in self._entries:
            return self._entries[name]
        prefix, colon, rest = name.partition(":")
        if colon and rest and prefix in self._families:
            return self._families[prefix][1](rest)
        known = [*self._entries, *(f"{prefix}:{what}" for prefix, (what, _) in self._families.items())]
        raise KeyError(f"unknown {self.kind} {name!r}; there are: {', '.join(known)}")

    def get(self, name: str) -> T:
        """The entry called `name`; KeyError lists what exists."""
        return self[name]

    def names(self) -> list[str]:
        """All names, in the order of registration."""
        return list(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
