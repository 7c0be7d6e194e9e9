"""Kernels are compiled when first called, whatever they call, and never before."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from deltamask.base.kernels import kernel


@kernel(inline="always")
def _twice(value):  # type: ignore[no-untyped-def]
    return 2 * value


@kernel
def _sum_of_doubles(values):  # type: ignore[no-untyped-def]
    """Twice the sum."""
    total = 0.0
    for value in values:
        total += _twice(value)
    return total


def test_a_kernel_calls_another_and_keeps_its_name_and_words() -> None:
    assert _sum_of_doubles.__doc__ == "Twice the sum."
    assert _sum_of_doubles(np.array([1.0, 2.5])) == 7.0
    assert _sum_of_doubles.compiled().signatures  # type: ignore[attr-defined]


def test_listing_codecs_methods_and_runs_loads_no_compiler() -> None:
    code = (
        "import sys, deltamask; deltamask.codecs.names(), deltamask.methods.names(), deltamask.list_runs()\n"
        "print([name for name in ('numba', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
