"""From class statistics to a linear classifier: nearest mean, ridge regression, linear discriminant analysis.

All take `Moments`, in the features' own units. A class that nobody holds gets a logit below the others' mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deltamask.heads.base import Linear, Total

Matrix = npt.NDArray[np.float64]

RATIOS = np.geomspace(1e-6, 1e1, 43)  # candidates for a penalty, as multiples of the mean eigenvalue: six a decade


@dataclass(frozen=True)
class Moments:
    """counts: (classes,) samples; means: (held, dims) of the classes that have some; held: (classes,) which.

    products: (dims, dims) Σ x xᵀ over all samples, or over means times their samples; None where neither was sent.
    """

    counts: npt.NDArray[np.float64]
    held: npt.NDArray[np.bool_]
    means: Matrix
    products: Matrix | None

    @property
    def samples(self) -> float:
        return float(self.counts.sum())


def moments(total: Total, step: float) -> Moments:
    """A total in steps of the fixed point to moments in the features' units. step: one step's size."""
    held = total.counts > 0
    means = total.sums[held] * step / total.counts[held, None]
    source = total.gram if total.scatter is None else total.scatter
    products = None if source is None else source.astype(np.float64) * step**2
    return Moments(total.counts.astype(np.float64), held, means, products)


def nearest_mean(of: Moments) -> Linear:
    """argmin_c |x − μ_c|² as a linear classifier: w = μ_c, b = −½|μ_c|² (FedNCM, arXiv 2402.04625)."""
    return _whole(of, of.means, -0.5 * (of.means**2).sum(1))


def within(of: Moments) -> Matrix:
    """(dims, dims) Σ_w, the covariance within classes: Σ (x − μ_y)(x − μ_y)ᵀ / n."""
    assert of.products is not None
    counts = of.counts[of.held, None]
    return (of.products - (counts * of.means).T @ of.means) / of.samples


def discriminant(of: Moments, covariance: Matrix, penalty: float, *, priors: bool = False) -> Linear:
    """LDA: w = (Σ + penalty·I)⁻¹ μ_c, b = −½ μ_cᵀ w, with `priors` + log of the class's share of the samples.

    Without priors every class counts the same: what a client's own label shares then add (balanced softmax) is not
    counted twice. A covariance that is singular as it stands is solved in the least-squares sense.
    """
    weight = _solve(covariance, penalty, of.means.T).T
    bias = -0.5 * (weight * of.means).sum(1)
    if priors:
        bias = bias + np.log(of.counts[of.held] / of.samples)
    return _whole(of, weight, bias)


def ridge(of: Moments, penalty: float) -> Linear:
    """Least squares on one-hot labels, |y − Wx − b|² + penalty·|W|², the bias not penalised (Fed3R, 2406.01116)."""
    mean, scatter, cross = _centred(of)
    weight = _solve(scatter, penalty, cross.T).T
    return _whole(of, weight, of.counts[of.held] / of.samples - weight @ mean)


def cross_validated(of: Moments) -> float:
    """The ridge penalty with the least generalised cross-validation error (Golub, Heath & Wahba 1979).

    GCV(λ) = RSS(λ)/n / (1 − df(λ)/n)² follows from the sums alone: no held-out samples, and the same for every split.
    """
    _, scatter, cross = _centred(of)
    values, vectors = np.linalg.eigh(scatter)
    values = values.clip(0)
    scale = float(values.mean())
    if not scale:
        return 1.0  # every feature is constant: nothing to learn, whatever the penalty
    counts = of.counts[of.held]
    labels = of.samples - float((counts**2).sum()) / of.samples
    along = cross @ vectors
    errors = []
    for penalty in RATIOS * scale:
        weight = along / (values + penalty)
        left = labels - 2 * (weight * along).sum() + (weight**2 * values).sum()
        freedom = 1 + (values / (values + penalty)).sum()
        errors.append(left / (1 - freedom / of.samples) ** 2 if freedom < of.samples else np.inf)
    return float(RATIOS[int(np.argmin(errors))] * scale) if np.isfinite(errors).any() else float(RATIOS[-1] * scale)


def _centred(of: Moments) -> tuple[Matrix, Matrix, Matrix]:
    """(mean (dims,), Σ (x − mean)(x − mean)ᵀ, Σ (y − share)(x − mean)ᵀ (held, dims))."""
    assert of.products is not None
    counts = of.counts[of.held]
    mean = counts @ of.means / of.samples
    return mean, of.products - of.samples * np.outer(mean, mean), counts[:, None] * (of.means - mean)


def _solve(matrix: Matrix, penalty: float, right: Matrix) -> Matrix:
    """(matrix + penalty·I)⁻¹ right; without a penalty the least-squares solution, as the matrix may be singular."""
    if not penalty:
        return np.asarray(np.linalg.lstsq(matrix, right, rcond=None)[0], np.float64)
    loaded = matrix.copy()
    loaded[np.diag_indices_from(loaded)] += penalty
    return np.asarray(np.linalg.solve(loaded, right), np.float64)


def _whole(of: Moments, weight: Matrix, bias: npt.NDArray[np.float64]) -> Linear:
    """Rows for all classes: one that nobody holds stands one below the mean of the others, so it is never chosen."""
    full = np.zeros((len(of.held), of.means.shape[1]))
    offsets = np.zeros(len(of.held))
    if of.held.any():
        full[:], offsets[:] = weight.mean(0), bias.mean() - 1
        full[of.held], offsets[of.held] = weight, bias
    return Linear(full, offsets)
