"""How unlike two configs are for what one wants to know of a run: its accuracy, or its bits. Needs no torch.

A distance is a sum over the fields that both runs read: of a number, how many doublings lie between its values, at most
MOST; of a word, 1 if it is another one; each times a weight that says how much the field moves the figure. The weights
are judged, not fitted: whether they serve is measured by the errors of the forecasts that rest on them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from deltamask.config import RunConfig, is_unread
from deltamask.studies import comparison
from deltamask.studies.comparison import Setting

Distances = npt.NDArray[np.float64]

APART = {*comparison.NOT_A_SETTING, "device"}  # what may differ between runs that tell the same
MOST = 4.0  # doublings between two numbers that count
NUMBER, WORD = 0.3, 1.0  # the weight of a field that is not named below
UNREAD = -100.0  # in the place of a number that a run does not read
# What moves neither: where it ran, what was kept, and who was compared.
NEITHER = (
    "seed", "device", "keep_payloads", "bad_images", "compare_alone", "feature_precision", "downlink", "test_samples",
)  # fmt: skip
COMMON = dict.fromkeys(NEITHER, 0.0) | {
    "adam_eps": 0.05, "attackers": 0.2, "clients": 0.2, "dirichlet_alpha": 0.2,
    "local_epochs": 0.5, "probe_epochs": 0.1, "probe_lr": 0.2, "rho": 0.2, "shards_per_client": 0.5,
}  # fmt: skip
ACCURACY: Mapping[str, float] = COMMON | {
    "method": 2.0, "dirichlet_alpha": 0.5, "codec": 0.05, "side_information": 0.0, "smoothing": 0.0,
    "update_codec": 0.2, "kappa": 0.15, "kappa_schedule": 0.3, "lr": 0.4, "lr_schedule": 0.5, "train_samples": 0.5,
    "noise": 0.5, "aggregation": 0.7, "image_size": 2.0, "evaluate_on": 0.1,
}  # fmt: skip
BITS: Mapping[str, float] = COMMON | {
    "kappa": 0.05, "codec": 0.2, "update_codec": 0.1, "side_information": 4.0, "lr": 1.0, "lr_schedule": 0.5,
    "rounds": 0.1, "noise": 1.0, "server_lr": 0.5, "clients": 0.5, "theta_init": 10.0, "head_init": 0.3,
    "head_refit": 2.0, "evaluate_on": 0.0, "adam_eps": 0.2,
}  # fmt: skip


def setting_of(config: RunConfig) -> Setting:
    """What runs share that differ in their seed alone, and in where they ran and what was kept of them."""
    return comparison.setting_of(config, APART)


class Places:
    """Configs between which distances are asked for."""

    def __init__(self, configs: Sequence[RunConfig], weights: Mapping[str, float]) -> None:
        self._names = [name for name in RunConfig.model_fields if weights.get(name) != 0.0]
        points = [_point(setting_of(config)) for config in configs]
        self._columns = {name: np.array([point[name] for point in points]) for name in self._names}
        self._weights = weights

    def distances(self, config: RunConfig) -> Distances:
        """(n,) from this config to each."""
        point, total = _point(setting_of(config)), np.zeros(len(self._columns["method"]))
        for name in self._names:
            value, column = point[name], self._columns[name]
            if isinstance(value, str):
                total = total + self._weights.get(name, WORD) * (column != value)
            else:
                apart = np.minimum(MOST, np.abs(column - value))
                apart[apart == MOST] = np.where((column == UNREAD) == (value == UNREAD), MOST, 1.0)[apart == MOST]
                total = total + self._weights.get(name, NUMBER) * apart
        return total


@functools.lru_cache(maxsize=4096)
def _point(setting: Setting) -> dict[str, float | str]:
    """Each field's value: a number's logarithm to base 2, a word as it is."""
    config = RunConfig.model_construct(**dict(setting))
    found: dict[str, float | str] = {}
    for name, value in config:
        unread = is_unread(name, config)
        if isinstance(value, bool | str):
            found[name] = "" if unread else str(value)
        else:
            found[name] = UNREAD if unread else float(np.log2(value)) if value > 0 else -7.0
    return found
