"""Closed-form heads agree with scikit-learn on the pooled data, and do not depend on who held which sample."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.neighbors import NearestCentroid

from deltamask.heads import HeadSettings, Linear, Sender, gram_rp, heads
from deltamask.heads.classifiers import Moments, cross_validated, discriminant, moments, ridge, within
from deltamask.heads.statistics import to_steps

CLASSES, FEATURES, SAMPLES = 4, 12, 400
AGREED = HeadSettings(seed=3, classes=CLASSES, features=FEATURES, min_samples=1, projection=8)
STEP = 2.0**-AGREED.fraction_bits


def samples(count: int = SAMPLES, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Correlated features, shifted by class, already on the fixed point's grid; classes of unequal size."""
    rng = np.random.default_rng(seed)
    y = rng.choice(CLASSES, count, p=[0.1, 0.2, 0.3, 0.4])
    mixing = rng.normal(size=(FEATURES, FEATURES))
    x = rng.normal(size=(count, FEATURES)) @ mixing + 2 * rng.normal(size=(CLASSES, FEATURES))[y]
    return (np.rint(x / STEP) * STEP).astype(np.float32), y


def fit(name: str, x: np.ndarray, y: np.ndarray, owner: np.ndarray, agreed: HeadSettings = AGREED) -> Linear:
    """The head from the clients' messages. owner: (n,) who holds each sample."""
    kind = heads[name]

    def parts():  # type: ignore[no-untyped-def]
        for client in np.unique(owner).tolist():
            own = owner == client
            sender = Sender(client, np.bincount(y[own], minlength=CLASSES))
            message = kind.encode(kind.summarise(x[own], y[own], sender, agreed), sender, agreed)
            yield kind.decode(message, sender, agreed)

    return kind.solve(kind.total(parts(), agreed), agreed)


def pooled(x: np.ndarray, y: np.ndarray, name: str = "gram") -> Moments:
    kind, sender = heads[name], Sender(0, np.bincount(y, minlength=CLASSES))
    return moments(kind.total([kind.summarise(x, y, sender, AGREED)], AGREED), STEP)


def logits(head: Linear, x: np.ndarray) -> np.ndarray:
    return x @ head.weight.T + head.bias


def test_ncm_is_nearest_centroid() -> None:
    x, y = samples()
    head = fit("ncm", x, y, np.arange(SAMPLES) % 7)
    theirs = NearestCentroid().fit(x.astype(np.float64), y)
    np.testing.assert_allclose(head.weight, theirs.centroids_, rtol=1e-12)
    np.testing.assert_array_equal(logits(head, x).argmax(1), theirs.predict(x.astype(np.float64)))


@pytest.mark.parametrize("penalty", [1e-3, 5.0, 300.0])
def test_ridge_is_ridge(penalty: float) -> None:
    x, y = samples()
    head = ridge(pooled(x, y), penalty)
    theirs = Ridge(alpha=penalty, solver="cholesky").fit(x.astype(np.float64), np.eye(CLASSES)[y])
    np.testing.assert_allclose(head.weight, theirs.coef_, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(head.bias, theirs.intercept_, rtol=1e-8)
    classifier = RidgeClassifier(alpha=penalty).fit(x.astype(np.float64), y)  # targets of −1 and 1: twice the logits
    np.testing.assert_array_equal(logits(head, x).argmax(1), classifier.predict(x.astype(np.float64)))


@pytest.mark.parametrize("priors", [False, True])
def test_discriminant_is_lda(priors: bool) -> None:
    x, y = samples()
    of = pooled(x, y)
    head = discriminant(of, within(of), 0.0, priors=priors)
    # scikit-learn weighs each class's covariance by its prior, so the samples' shares give Σ_w; without them only the
    # intercepts differ, by the logarithms of the priors.
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=None).fit(x.astype(np.float64), y)
    np.testing.assert_allclose(head.weight, theirs.coef_, rtol=1e-7)
    intercept = theirs.intercept_ - (0 if priors else np.log(theirs.priors_))
    np.testing.assert_allclose(head.bias, intercept, rtol=1e-7)
    if priors:
        eigen = LinearDiscriminantAnalysis(solver="eigen", shrinkage=None).fit(x.astype(np.float64), y)
        np.testing.assert_array_equal(logits(head, x).argmax(1), eigen.predict(x.astype(np.float64)))


def test_penalty_has_the_least_error_of_all_candidates() -> None:
    """GCV from the sums equals GCV from the samples and their hat matrix, at the chosen penalty and around it."""
    x, y = samples(120)
    chosen = cross_validated(pooled(x, y))
    centred, targets = x - x.mean(0, dtype=np.float64), np.eye(CLASSES)[y]

    def error(penalty: float) -> float:
        inverse = np.linalg.inv(centred.T @ centred + penalty * np.eye(FEATURES))
        hat = centred @ inverse @ centred.T + 1 / len(x)
        return float(((targets - hat @ targets) ** 2).sum() / (1 - np.trace(hat) / len(x)) ** 2)

    assert error(chosen) <= min(error(chosen * factor) for factor in (0.01, 0.5, 0.8, 1.25, 2, 100))


@given(seed=st.integers(0, 1000), clients=st.integers(1, 40), other=st.integers(1, 40))
@settings(max_examples=25, deadline=None)
@pytest.mark.parametrize("name", ["ncm", "gram", "gram-rp"])
def test_any_two_splits_give_the_same_head(name: str, seed: int, clients: int, other: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = samples(150, seed)
    x = x + rng.normal(size=x.shape).astype(np.float32)  # off the grid
    left = fit(name, x, y, rng.integers(0, clients, 150))
    shuffled = rng.permutation(150)
    right = fit(name, x[shuffled], y[shuffled], rng.integers(0, other, 150))
    np.testing.assert_array_equal(left.flat(), right.flat(), strict=True)
    np.testing.assert_array_equal(left.weight, right.weight)


def test_cof_estimates_the_covariance_within_classes() -> None:
    """The scatter of means, each times its samples, has Σ_w as its expectation: over many clients it comes close."""
    x, y = samples(40_000)
    agreed = HeadSettings(seed=3, classes=CLASSES, features=FEATURES, min_samples=1, means=4)
    kind, owner = heads["cof"], np.arange(len(x)) % 400
    parts = []
    for client in range(400):
        own = owner == client
        sender = Sender(client, np.bincount(y[own], minlength=CLASSES))
        parts.append(kind.summarise(x[own], y[own], sender, agreed))
    total = kind.total(parts, agreed)
    of = moments(total, STEP)
    between = (of.counts[:, None] * of.means).T @ of.means
    assert of.products is not None
    estimate = (of.products - between) / (total.rows - 1).sum()
    truth = within(pooled(x, y))
    assert np.abs(estimate - truth).max() < 0.1 * np.abs(truth).max()


def test_projected_head_is_a_head_of_the_features() -> None:
    """Mapped back, it gives each sample the logits that the head in q dimensions gives its projection."""
    x, y = samples()
    head = fit("gram-rp", x, y, np.arange(SAMPLES) % 5)
    small = HeadSettings(seed=3, classes=CLASSES, features=FEATURES, projection=8)
    steps = to_steps(x, small.fraction_bits) @ gram_rp.projection(3, 8, FEATURES).astype(np.int64).T
    direct = steps * STEP / 2.0 ** gram_rp.shift_of(FEATURES)
    np.testing.assert_allclose(logits(head, x) - head.bias, direct @ np.linalg.lstsq(direct, x @ head.weight.T)[0],
                               atol=1e-6)  # fmt: skip
    assert np.linalg.matrix_rank(head.weight) <= CLASSES
    accuracy = (logits(head, x).argmax(1) == y).mean()
    exact = (logits(fit("gram", x, y, np.zeros(SAMPLES, int)), x).argmax(1) == y).mean()
    assert accuracy > 0.6 * exact


@pytest.mark.parametrize("name", ["ncm", "cof", "gram", "gram-rp"])
@pytest.mark.parametrize("solver", ["lda", "ridge"])
def test_class_that_nobody_holds_is_never_chosen(name: str, solver: str) -> None:
    x, y = samples()
    kept = y != 2
    agreed = HeadSettings(3, CLASSES, FEATURES, min_samples=1, projection=8, solver=solver)
    head = fit(name, x[kept], y[kept], np.arange(kept.sum()) % 5, agreed)
    assert np.isfinite(head.flat()).all()
    chosen = logits(head, x).argmax(1)
    assert set(chosen.tolist()) == {0, 1, 3}


@pytest.mark.parametrize("name", ["ncm", "cof", "gram", "gram-rp"])
@pytest.mark.parametrize("solver", ["lda", "ridge"])
@pytest.mark.parametrize("case", ["one sample", "one class", "fewer samples than features", "dead feature", "constant"])
def test_degenerate_data_gives_finite_heads(name: str, solver: str, case: str) -> None:
    x, y = samples(60)
    match case:
        case "one sample":
            x, y = x[:1], y[:1]
        case "one class":
            y = np.ones_like(y)
        case "fewer samples than features":
            x, y = x[:6], y[:6]
        case "dead feature":
            x = x * (np.arange(FEATURES) != 5).astype(np.float32)
        case "constant":
            x = np.ones_like(x)
    agreed = HeadSettings(3, CLASSES, FEATURES, min_samples=1, projection=8, solver=solver)
    head = fit(name, x, y, np.arange(len(x)) % 3, agreed)
    assert np.isfinite(head.flat()).all()
    if case in ("one sample", "one class"):
        assert set(logits(head, x).argmax(1).tolist()) == {int(y[0])}


def test_singular_covariance_without_penalty_is_solved_by_least_squares() -> None:
    x, y = samples()
    x[:, 3] = x[:, 4]
    of = pooled(x, y)
    head = discriminant(of, within(of), 0.0)
    assert np.isfinite(head.flat()).all()
    reduced = [feature for feature in range(FEATURES) if feature != 3]
    full = LinearDiscriminantAnalysis(solver="lsqr", priors=[0.25] * 4).fit(x[:, reduced].astype(np.float64), y)
    assert (logits(head, x).argmax(1) == y).mean() > full.score(x[:, reduced].astype(np.float64), y) - 0.03
