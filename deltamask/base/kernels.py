"""Kernels that Numba compiles when they are first called: listing codecs and reading runs load no compiler."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, overload

_compiling = threading.RLock()


class Kernel:
    """A function of numbers and arrays, compiled at its first call and from then on kept on disk by Numba."""

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
                self._compiled = numba.njit(cache=True, **self._options)(self._function)
        return self._compiled


@overload
def kernel(function: Callable[..., Any], /) -> Kernel: ...
@overload
def kernel(**options: Any) -> Callable[[Callable[..., Any]], Kernel]: ...
def kernel(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Decorator: `@kernel`, or `@kernel(inline="always")` with options of `numba.njit`. Results are cached on disk."""
    return Kernel(function, options) if function else lambda function: Kernel(function, options)
