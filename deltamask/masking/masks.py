"""Mask probabilities in fixed point, masks, flips, and their ranking (DESIGN: the round, steps 3, 5 and 6).

θ is held as uint16 in units of 2⁻¹⁶, so that every machine computes the same mask bit for bit. It stays inside
[σ(−6), σ(6)]: the server clips where the literature lets the client do it, because a θ_g of exactly 1 that the client
must clip to σ(6) makes 0.25 % of all positions flip without anything having been learnt.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deltamask.base.units import ceil
from deltamask.masking.noise import Words

SCORE_CLIP = 6.0
ONE = 1 << 16  # θ = 1 in fixed point
THETA_MIN = round(ONE / (1 + np.exp(SCORE_CLIP)))
THETA_MAX = ONE - THETA_MIN

Theta = npt.NDArray[np.uint16]
Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]


def to_fixed(theta: npt.NDArray[np.floating]) -> Theta:
    """θ ∈ [0, 1] to fixed point, rounded and clipped to [THETA_MIN, THETA_MAX]. NaN raises ValueError."""
    if np.isnan(theta).any():
        raise ValueError("theta has NaN entries")
    return np.rint(np.clip(theta * ONE, THETA_MIN, THETA_MAX)).astype(np.uint16)


def to_float(theta: Theta) -> npt.NDArray[np.float32]:
    """Fixed point to float32, exactly."""
    return theta.astype(np.float32) / np.float32(ONE)


def sample(theta: Theta, u: Words) -> Mask:
    """m = [u < θ], of shape (d,): P(m = 1) = θ exactly."""
    return u < theta


def flips(theta_client: Theta, theta_global: Theta, u: Words) -> Positions:
    """Δ: the sorted positions where the masks of both θ differ under the same u, so that flips come from learning."""
    return np.flatnonzero(sample(theta_client, u) != sample(theta_global, u))


def bernoulli_kl(p: Theta, q: Theta) -> npt.NDArray[np.float64]:
    """KL(Bernoulli(p) ‖ Bernoulli(q)) in nats, elementwise; finite, since fixed-point p and q are inside the clip."""
    p1, q1 = p.astype(np.float64) / ONE, q.astype(np.float64) / ONE
    return p1 * np.log(p1 / q1) + (1 - p1) * np.log((1 - p1) / (1 - q1))


def keep_top(
    positions: Positions, theta_client: Theta, theta_global: Theta, kappa: float, most: int | None = None
) -> Positions:
    """Δ': the ⌈κ·|Δ|⌉ flips with the largest KL(θ_k ‖ θ_g), sorted by position; ties go to the lower position.

    most: that many at most, whatever κ says.
    """
    count = ceil(kappa * len(positions))
    if most is not None:
        count = min(count, most)
    if count >= len(positions):
        return positions
    gain = bernoulli_kl(theta_client[positions], theta_global[positions])
    return np.sort(positions[np.argsort(-gain, kind="stable")[:count]])


def apply_flips(mask: Mask, positions: Positions) -> Mask:
    """m ⊕ Δ, as a copy."""
    flipped = mask.copy()
    flipped[positions] ^= True
    return flipped
