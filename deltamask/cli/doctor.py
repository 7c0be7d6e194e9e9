"""What works on this machine, and what to do about the rest."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.text import Text

from deltamask.backbones import BackboneSpec, backbones
from deltamask.base.kernels import cache_place
from deltamask.base.paths import cache_dir
from deltamask.base.units import byte_size
from deltamask.datasets import DatasetSpec, datasets, roots
from deltamask.runs.folder import provenance
from deltamask.task.device import multiplies_bfloat16
from deltamask.task.feature_cache import cache_limit

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "numba",
    "pyfusefilter",
    "constriction",
    "streamlit",
    "plotly",
    "jupyterlab",
)


def _entry(name: str, spec: DatasetSpec | BackboneSpec, reason: str | None = None) -> dict[str, Any]:
    place = spec.where()
    return {
        "name": name,
        "available": place is not None,
        "reason": f"found at {place}" if place else reason or f"not on this machine: {spec.how_to_get}",
        "bytes": spec.size_bytes,
        "licence": spec.license,
        "how_to_get": spec.how_to_get,
    }


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cache() -> dict[str, Any]:
    folder = cache_dir()
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    parent: Path = next(place for place in (folder, *folder.parents) if place.exists())
    return {"path": str(folder), "bytes": sum(sizes), "files": len(sizes), "writable": os.access(parent, os.W_OK)}


def examine() -> dict[str, Any]:
    """The report. `healthy`: the cache is writable, and at least one dataset and one backbone are here."""
    data = [_entry(name, datasets[name], datasets[name].fault()) for name in datasets]
    models = [_entry(name, backbones[name]) for name in backbones if backbones[name].offered]
    cache = _cache()
    return {
        "healthy": cache["writable"] and any(e["available"] for e in data) and any(e["available"] for e in models),
        **provenance(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "multiplies_bfloat16": multiplies_bfloat16(),
        "packages": {package: _installed(package) for package in PACKAGES},
        "cache": cache,
        "kernels": None if (kernels := cache_place()) is None else str(kernels),
        "data_folders": [str(root) for root in roots()],
        "datasets": data,
        "backbones": models,
    }


def print_report(report: dict[str, Any], console: Console) -> None:
    """The report, for a terminal of any width."""
    console.print(
        f"deltamask {report['deltamask']} ({report['git_revision']}), Python {report['python']}, "
        f"{report['machine']}, {report['threads']} threads, "
        + ("with" if report["multiplies_bfloat16"] else "no")
        + " instructions for bfloat16 (--precision)"
    )
    packages = ", ".join(f"{name} {number or 'missing'}" for name, number in report["packages"].items())
    console.print(packages)
    cache = report["cache"]
    writable = "" if cache["writable"] else ", NOT WRITABLE: set DELTAMASK_CACHE to a folder that is"
    console.print(
        f"feature cache {cache['path']}: {byte_size(cache['bytes'])} in {cache['files']} files, at most "
        f"{byte_size(cache_limit())} (DELTAMASK_CACHE_LIMIT){writable}",
    )
    nowhere = "nowhere, and every process compiles its own: set NUMBA_CACHE_DIR to a folder that can be written"
    console.print(f"compiled kernels are kept {'in ' + report['kernels'] if report['kernels'] else nowhere}")
    console.print(
        f"datasets are looked for in {', '.join(report['data_folders'])}, in folders named as torchvision names them; "
        "folder:PATH and clients:PATH read your own images",
    )
    for kind in ("datasets", "backbones"):
        console.print(f"\n{kind}", style="bold")
        width = max(len(entry["name"]) for entry in report[kind])
        for entry in report[kind]:
            place, style = ("here", "green") if entry["available"] else ("not here", "yellow")
            console.print(Text.assemble((f"{entry['name']:{width}}  ", "bold"), (place, style)))
            about = f"    {byte_size(entry['bytes'])}; {entry['licence']}\n    {entry['reason']}"
            console.print(Text(about))  # unbroken, so that paths and addresses can be copied
