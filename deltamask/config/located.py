"""A config whose paths mean the same from every folder."""

from __future__ import annotations

from deltamask.base.paths import expanded
from deltamask.config.run_config import RunConfig

NO_FILE = ("pretrained", "random")  # what `weights` may be beside a file's path


def located(config: RunConfig) -> RunConfig:
    """The config with the paths in `dataset` and `weights` absolute: so a run is stored, and goes on from anywhere."""
    changes = {}
    family, colon, path = config.dataset.partition(":")
    if f"{family}{colon}" in (RunConfig.setting("dataset").prefix or ()) and path.strip():
        changes["dataset"] = f"{family}:{expanded(path).absolute()}"
    if config.weights not in NO_FILE:
        changes["weights"] = str(expanded(config.weights).absolute())
    return config.replace(**changes) if changes else config
