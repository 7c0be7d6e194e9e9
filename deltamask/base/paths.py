"""Where things lie: data, caches, runs. Each place can be moved by an environment variable."""

from __future__ import annotations

import errno
import importlib.util
import os
from pathlib import Path


def expanded(text: str | Path) -> Path:
    """A path as a person writes it. `~` and environment variables are what a shell makes of them, wherever a path is
    given: on the command line, in a form, in a file or in a variable. What is there by that very name is itself."""
    return Path(text if os.path.lexists(text) else os.path.expandvars(os.path.expanduser(text)))


def _variable(name: str) -> Path | None:
    """The place that an environment variable names, None where it is unset or empty."""
    text = os.environ.get(name)
    return expanded(text) if text else None


def data_dir() -> Path:
    """What ships with the repository: $DELTAMASK_DATA, else its `data/`."""
    return _variable("DELTAMASK_DATA") or Path(__file__).resolve().parents[2] / "data"


def cache_dir() -> Path:
    """What can be computed again: $DELTAMASK_CACHE, else `deltamask` in the user's cache folder."""
    if chosen := _variable("DELTAMASK_CACHE"):
        return chosen
    if chosen := _variable("XDG_CACHE_HOME"):
        return chosen / "deltamask"
    try:
        return Path.home() / ".cache" / "deltamask"
    except RuntimeError:
        raise RuntimeError("there is no home folder here: set DELTAMASK_CACHE to a folder for the cache") from None


def download_dir() -> Path:
    """Where downloaded datasets go: $DELTAMASK_DATA, else `data/` in the cache folder."""
    return data_dir() if os.environ.get("DELTAMASK_DATA") else cache_dir() / "data"


def remedy(error: OSError) -> str:
    """What to do about an error of the file system, in words; empty where only the user can know."""
    if error.filename is None:
        return ""
    try:
        path, cache = Path(str(error.filename)).absolute(), cache_dir().absolute()
        cached = path.is_relative_to(cache) or cache.is_relative_to(path)  # in it, or a folder above that is missing
    except RuntimeError:
        cached = False
    choice = "DELTAMASK_CACHE" if cached else "--out, or DELTAMASK_RUNS for all runs,"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"make room on its disk, or let {choice} name a folder on another"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        return f"see to it that it can be written, or let {choice} name a folder that can"
    return ""


def runs_dir() -> Path:
    """Where new runs go: $DELTAMASK_RUNS, else `runs/` in the current folder."""
    return _variable("DELTAMASK_RUNS") or Path("runs")


def sweeps_dir() -> Path:
    """Where sweeps put their runs: `sweeps/` among the runs."""
    return runs_dir() / "sweeps"


def recorded_dir() -> Path:
    """The recorded runs that ship with the repository."""
    return data_dir() / "runs"


def results_dir() -> Path:
    """The tables of the studies that ship with the repository."""
    return data_dir() / "results"


def packaged(package: str, file: str) -> Path | None:
    """A file inside an installed package, which is not imported; None where it is missing."""
    spec = importlib.util.find_spec(package)
    for folder in spec.submodule_search_locations or [] if spec else []:
        if (Path(folder) / file).is_file():
            return Path(folder) / file
    return None
