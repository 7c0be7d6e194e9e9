"""`deltamask doctor`, `check`, `download`, `cache` and `bench`: this machine, and what is registered on it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import tyro
from rich.table import Table

from deltamask import backbones, datasets
from deltamask.backbones import BackboneSpec
from deltamask.base.paths import cache_dir, download_dir
from deltamask.base.progress import Progress
from deltamask.base.units import byte_size
from deltamask.cli.console import console, print_table
from deltamask.cli.output import Json, complain, people, print_json, progress
from deltamask.datasets import DatasetSpec
from deltamask.task import feature_cache as caching


def doctor(*, json: Json = False) -> int:
    """Say what works here: packages, datasets, backbones, the feature cache."""
    from deltamask.cli import doctor as examination

    report = examination.examine()
    if json:
        return print_json(report)
    examination.print_report(report, console())
    return 0 if report["healthy"] else 1


def check(name: Annotated[str, tyro.conf.Positional], *, json: Json = False) -> int:
    """Try on whatever is registered as NAME (method, codec, dataset, backbone …) what our own tests try on ours."""
    from deltamask.conformance import check as outcomes

    found = []
    for outcome in outcomes(name):
        found.append(outcome._asdict())
        if not json:
            mark = "holds " if outcome.fault is None else "BROKEN"
            people.print(f"{mark} {outcome.kind}: {outcome.law}")
            if outcome.fault:
                people.print(f"       {outcome.fault}", style="red")
    if json:
        print_json(found)
    return int(any(outcome["fault"] for outcome in found))


class _Source(NamedTuple):
    """What is fetched for a name. size: bytes. into: a folder. fetch: does it."""

    size: int
    host: str
    into: Path
    fetch: Callable[[Progress], None]


def _source(name: str, spec: DatasetSpec | BackboneSpec) -> _Source | None:
    """None where nothing can be fetched."""
    if isinstance(spec, BackboneSpec):
        return _Source(spec.size_bytes, spec.host or "", cache_dir(), spec.obtain) if spec.obtain else None
    from deltamask.datasets.download import download as fetch

    what, root = spec.download, download_dir()
    return _Source(what.size, what.hosts, root, partial(fetch, name, what, root)) if what else None


def download(
    name: Annotated[str, tyro.conf.Positional],
    *,
    yes: Annotated[bool, tyro.conf.arg(help="Do not ask.")] = False,
    json: Json = False,
) -> int:
    """Fetch a dataset or a backbone's weights, after saying size and licence and asking."""
    spec = backbones.get(name) if name in backbones.backbones else datasets.get(name)
    if (place := spec.where()) is not None:
        people.print(f"{name} is here already: {place}")
        return print_json({"name": name, "path": str(place), "fetched": False}) if json else 0
    if (source := _source(name, spec)) is None:
        return complain(1, f"{name} cannot be downloaded: {spec.how_to_get}")
    people.print(
        f"{name}: {byte_size(source.size)} from {source.host} into {source.into}\nlicence: {spec.license}",
    )  # fmt: skip
    if not yes:
        if not sys.stdin.isatty():
            return complain(2, "nobody to ask: add --yes to download it")
        if input("Download it? [y/N] ").strip().lower() not in ("y", "yes"):
            return 1
    with progress() as show:
        try:
            source.fetch(show)
        except KeyboardInterrupt:
            people.print(f"interrupted; `deltamask download {name}` goes on from there")
            return 130
    people.print(f"{name} is in {spec.where()}")
    return print_json({"name": name, "path": str(spec.where()), "fetched": True}) if json else 0


def cache(
    what: Annotated[Literal["list", "clear"], tyro.conf.Positional],
    *,
    older_than: Annotated[float, tyro.conf.arg(help="Only what has not been used for so many days.")] = 0.0,
    json: Json = False,
) -> int:
    """List or clear the feature cache. What is cleared is computed again when a run needs it."""
    chosen = caching.clear(older_than) if what == "clear" else caching.entries(older_than)
    total = sum(entry["bytes"] for entry in chosen)
    if json:
        limit = caching.cache_limit()
        return print_json({"path": str(caching.features_dir()), "bytes": total, "limit": limit, "entries": chosen})
    table = Table("features", "blocks", "precision", "train", "test", "size", "unused for")
    for entry in chosen:
        about = (entry["name"], str(entry["masked_blocks"] or ""), entry["precision"] or "")
        samples = (f"{entry['samples'][split]:,}" for split in ("train", "test"))
        table.add_row(*about, *samples, byte_size(entry["bytes"]), f"{entry['days_unused']:.1f} days")
    print_table(table)
    removed = "removed" if what == "clear" else f"of {byte_size(caching.cache_limit())} (DELTAMASK_CACHE_LIMIT)"
    console().print(f"{caching.features_dir()}: {byte_size(total)} {removed}")
    return 0


def bench(
    what: Annotated[Literal["codecs"], tyro.conf.Positional],
    *,
    d: Annotated[float, tyro.conf.arg(help="Number of maskable weights; 1e9 is understood.")] = 1_009_792,
    density: Annotated[float, tyro.conf.arg(help="Share of positions that flip.")] = 0.01,
    seed: Annotated[int, tyro.conf.arg(help="Of the synthetic flips.")] = 0,
    json: Json = False,
) -> int:
    """Time and weigh every codec on synthetic flips: bytes, both entropy bounds, false flips, memory."""
    from deltamask.cli import bench_codecs as benchmarks

    if not 1 <= d <= 1e10:
        return complain(2, f"d = {d:g} is out of range: 1 ≤ d ≤ 1e10")
    rows = benchmarks.bench_codecs(int(d), density, seed)
    if json:
        return print_json(rows)
    benchmarks.print_table(rows)
    return 0
