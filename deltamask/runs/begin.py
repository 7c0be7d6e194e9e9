"""A run begins: refused early where it cannot be, in a folder of its own, from the command line or from Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deltamask import backbones, datasets
from deltamask.base.paths import expanded
from deltamask.config import RunConfig, located
from deltamask.config.located import NO_FILE
from deltamask.datasets import partitions
from deltamask.privacy import plan
from deltamask.runs import StoreError, manage
from deltamask.runs.folder import RunFolder, new_folder
from deltamask.runs.reader import Run, load_run
from deltamask.runs.stored import read_status

if TYPE_CHECKING:
    from deltamask.simulation.records import RoundRecord

Show = Callable[[str, int, int], None]


def run(
    config: RunConfig,
    out: str | Path | None = None,
    *,
    on_record: Callable[[RoundRecord], None] = lambda record: None,
    show: Show = lambda what, done, total: None,
    accept_changes: bool = False,
) -> Run:
    """Run `config` into a run folder, as `deltamask run` does, and return what is in it.

    out: the folder; by default a new one, `runs/<id>`. One that holds a run of the same config is gone on with, from
    its last finished round: after a kill, an interrupt or a stop the same call again ends as if nothing had happened.
    It may have more `rounds` than before (not with a cosine schedule). on_record: is given each round's record.
    show(what, done, total): what takes long. accept_changes: go on although data or weights are not those that it began
    with.

    Raises StoreError if `out` holds a run of another config, or one that another process runs, ValueError for fewer
    rounds than it has, DatasetError, BackboneError, and KeyboardInterrupt, after which the folder says `stopped`. The
    returned run's `state` is `finished`, or `stopped` where somebody asked it to stop (on the page, say).
    """
    config = located(config)
    path = new_folder(config) if out is None else expanded(out)
    if (path / "config.json").exists():
        stored = load_run(path)
        config = _same(stored, config)
        return _executed(RunFolder(path), config, on_record, show, accept_changes)
    refuse_early(config)
    with new_run(path, config) as folder:
        return _executed(folder, config, on_record, show, accept_changes)


def _executed(
    folder: RunFolder, config: RunConfig, on_record: Callable[[RoundRecord], None], show: Show, accept_changes: bool
) -> Run:
    from deltamask.runs.runner import execute  # torch, which takes seconds

    execute(folder, config, on_record=on_record, show=show, accept_changes=accept_changes)
    return load_run(folder.path)


def _same(stored: Run, config: RunConfig) -> RunConfig:
    """The config to go on with. StoreError where it is not the run's, but for `rounds` and `device`."""
    free = {"rounds", "device"}
    other = [name for name, value in config if name not in free and getattr(stored.config, name) != value]
    if other:
        said = "; ".join(f"{name} is {getattr(stored.config, name)}, not {getattr(config, name)}" for name in other)
        raise StoreError(f"{stored.path} holds a run of another config ({said}): let `out` name another folder")
    return manage.extend(stored, config.rounds).replace(device=config.device)


@contextmanager
def new_run(path: Path, config: RunConfig) -> Iterator[RunFolder]:
    """A new run's folder; one that was made here goes again if the run fails before it has begun, and says `stopped` if
    Ctrl-C comes before anybody watches over it. StoreError if the path already holds a run."""
    fresh, folder = not path.exists(), RunFolder(path)
    try:
        yield RunFolder.create(path, config)
    except Exception:
        if fresh and not folder.has_begun():
            folder.remove()
        raise
    except KeyboardInterrupt:
        if fresh and read_status(path / "status.json").get("state") == "starting":
            folder.write_status(state="stopped", message="interrupted from the keyboard")
        raise


def refuse_early(config: RunConfig) -> None:
    """Refuse what cannot be run as far as that can be told without torch and features. Raises as `load_task` does."""
    dataset, _ = datasets.get(config.dataset), backbones.get(config.backbone)
    if config.weights not in NO_FILE:
        backbones.given_file(config.weights)
    if dataset.where() is None or dataset.labels is None:
        data = datasets.load(config.dataset)
        labels, groups = data.train_y, data.groups
    else:
        (labels, _), groups = dataset.labels(), None
        if dataset.groups is not None and partitions.get(config.partition).natural:
            return  # who holds what is only told by reading all
    count = config.train_samples
    shards = partitions.split(config, labels[:count], groups.pick(slice(count)) if groups else None)
    plan.check(config, [len(shard) for shard in shards])
