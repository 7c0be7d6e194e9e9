"""DRIVE, EDEN and QSGD beside the package `distributed-mean-estimation`, whose authors are those of the first two.

The package's only wheel lacks two of its folders (rotations, and the tables of EDEN's quantisers), so `import cmprs`
fails and its EDEN above one bit cannot be asked. Its modules for one bit, sparsification and rounding are whole and are
loaded by themselves; the rotation is that of `hadamard-transform`, by the same author. `test_updates.py` holds EDEN at
four bits against the paper's formula.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from hadamard_transform import inverse_randomized_hadamard_transform, randomized_hadamard_transform

from deltamask.codecs.updates import qsgd
from tests.codecs.updates.test_updates import gaussian, heavy, mean_nmse

N = 1 << 15
TIMES = 10


@pytest.fixture(scope="module")
def package() -> Iterator[SimpleNamespace]:
    """The package's modules that its wheel has whole, without its `__init__`, which asks for the others."""
    root = importlib.metadata.distribution("distributed-mean-estimation").locate_file("cmprs")
    with pytest.MonkeyPatch.context() as patch:
        for name, folder in (("cmprs", root), ("cmprs.eden", root / "eden")):
            module = ModuleType(name)
            module.__path__ = [str(folder)]
            patch.setitem(sys.modules, name, module)
        parts = {part: importlib.import_module(f"cmprs.{part}") for part in ("sparsification", "rounding", "scale")}
        parts["drive"] = importlib.import_module("cmprs.eden.drive")
        parts["transform"] = importlib.import_module("cmprs.transform")
        yield SimpleNamespace(**parts)


def mean_error(transform, values: np.ndarray) -> float:
    """Normalised squared error of the package's code, over TIMES of its own draws."""
    x = torch.from_numpy(values.astype(np.float64))
    errors = [(transform.roundtrip(x.clone()).rx - x).square().sum() / x.square().sum() for _ in range(TIMES)]
    return float(np.mean(errors))


def rotation(package: SimpleNamespace):
    """Padding to the next power of two and one randomised Hadamard transform, as a step of the package's pipelines."""
    seeds = iter(range(10**6))

    class Rotation(package.transform.Transform):
        def forward(self, x):
            seed = next(seeds)
            padded = torch.nn.functional.pad(x, (0, (1 << (len(x) - 1).bit_length()) - len(x)))
            rotated = randomized_hadamard_transform(padded, torch.Generator().manual_seed(seed))
            return package.transform.FOut(rotated, (seed, len(x)))

        def backward(self, tx, context):
            seed, n = context
            return inverse_randomized_hadamard_transform(tx, torch.Generator().manual_seed(seed))[:n]

    return Rotation()


@pytest.mark.parametrize("make", [gaussian, heavy])
@pytest.mark.parametrize("name", ["drive", "eden1"])
def test_one_bit(package: SimpleNamespace, name: str, make) -> None:
    """The package calls EDEN with its exact scale at one bit by the name of DRIVE."""
    values = make(N)
    theirs = mean_error(package.transform.SequenceTransform([rotation(package), package.drive.drive]), values)
    assert mean_nmse(name, values, TIMES) == pytest.approx(theirs, rel=0.02)


@pytest.mark.parametrize("make", [gaussian, heavy])
def test_half_a_bit(package: SimpleNamespace, make) -> None:
    """A length of which half, give or take, is just below a power of two: the package's padding is more bits."""
    values = make(N - 468)
    inner = package.transform.SequenceTransform([rotation(package), package.drive.drive])
    theirs = mean_error(package.sparsification.RandomP(0.5, seed=1, t=inner), values)
    assert mean_nmse("eden0.5", values, TIMES) == pytest.approx(theirs, rel=0.03)


@pytest.mark.parametrize("make", [gaussian, heavy])
def test_qsgd(package: SimpleNamespace, make) -> None:
    """Bucket by bucket, since the package's norm is that of a whole vector."""
    values = make(N)
    steps = [
        package.scale.UnitNormalization(norm_ord=float("inf")),
        package.scale.ConstScale(qsgd.S),
        package.rounding.StochasticRounding(seed=2),
    ]
    transform = package.transform.SequenceTransform(steps)
    buckets = np.abs(values).reshape(-1, qsgd.BUCKET)
    energy = np.square(buckets, dtype=np.float64).sum(axis=1)
    errors = [mean_error(transform, bucket) for bucket in buckets]
    assert mean_nmse("qsgd", values, TIMES) == pytest.approx(float(errors @ energy / energy.sum()), rel=0.02)
