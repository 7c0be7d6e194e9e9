"""Kernels that Numba compiles when they are first called: listing codecs and reading runs load no compiler."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, overload

from deltamask.base.paths import cache_dir

_compiling = threading.RLock()


class Kernel:
    """A function of numbers and arrays, compiled at its first call and kept on disk where `cache_place` says."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        functools.update_wrapper(self, function)
        self._function, self._options = function, options
        self._compiled: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        return (self._compiled or self.compiled())(*arguments)

    def compiled(self) -> Callable[..., Any]:
        """Numba's dispatcher. Kernels that this one calls are compiled first, among its globals, where Numba looks."""
        with _compiling:
            if self._compiled is None:
                import numba

                names = self._function.__globals__
                for name in self._function.__code__.co_names:
                    if isinstance(called := names.get(name), Kernel):
                        names[name] = called.compiled()
                place = cache_place()
                if place not in (None, BESIDE):
                    numba.config.CACHE_DIR = str(place)  # type: ignore[attr-defined]
                self._compiled = numba.njit(cache=place is not None, **self._options)(self._function)
        return self._compiled


BESIDE = Path(__file__).resolve().parent / "__pycache__"  # where Numba keeps what it compiles, if it can


@functools.cache
def cache_place() -> Path | None:
    """Where compiled kernels are kept: $NUMBA_CACHE_DIR, else beside the code, else in our cache. None where none of
    them can be written: then every process compiles its own."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    places = [Path(given)] if given else [BESIDE]
    with contextlib.suppress(RuntimeError):  # no home
        places.append(cache_dir() / "kernels")
    return next(filter(_can_be_written, places), None)


def _can_be_written(place: Path) -> bool:
    try:
        place.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=place).close()
    except OSError:
        return False
    return True


@overload
def kernel(function: Callable[..., Any], /) -> Kernel: ...
@overload
def kernel(**options: Any) -> Callable[[Callable[..., Any]], Kernel]: ...
def kernel(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Decorator: `@kernel`, or `@kernel(inline="always")` with options of `numba.njit`. Results are cached on disk."""
    return Kernel(function, options) if function else lambda function: Kernel(function, options)
