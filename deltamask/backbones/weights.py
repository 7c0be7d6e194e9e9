"""Where a backbone's weights come from: a file, the hub, or a seeded draw. What does not fit is named."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from timm.models import load_state_dict
from torch import Tensor, nn

from deltamask.backbones.hub import HUB_FILE, hub_address
from deltamask.backbones.spec import BackboneError, given_file

Tensors = Mapping[str, Tensor]

RANDOM_SEED = 0  # of random weights, whatever the run's seed: runs with different seeds share cached features
SHOWN = 4  # tensors that an error names


def locate(weights: str, pretrained: Callable[[], Path]) -> Path | None:
    """The file that `weights` (RunConfig's field) stands for, None for `random`. pretrained: finds or fetches it."""
    if weights == "random":
        return None
    if weights == "pretrained":
        return pretrained()
    return given_file(weights)


def from_hub(repository: str) -> Path:
    """The weights file of a repository on the Hugging Face hub, from its cache, else downloaded.

    The hub's client resumes a download that was cut short, and puts only complete files in place.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(hf_hub_download(repository, HUB_FILE))
    except (HfHubHTTPError, OSError, ValueError) as error:
        why = str(error).strip().splitlines()[0]
        raise BackboneError(
            f"cannot fetch the weights {repository} from the hub ({why}). Where there is a network, save "
            f"{hub_address(repository)} and pass --weights FILE; or try without pretrained weights: --weights random"
        ) from error


def read(path: Path) -> dict[str, Tensor]:
    """The tensors in a safetensors file or a torch checkpoint; no code in the file is run."""
    try:
        tensors = load_state_dict(str(path), weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BackboneError(
            f"{path} cannot be read as safetensors or as a torch checkpoint of tensors ({why}); was its download cut "
            "short? Fetch it again"
        ) from error
    if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise BackboneError(f"{path} holds something other than a network's tensors")
    return dict(tensors)


def fit(model: nn.Module, tensors: Tensors, path: Path) -> None:
    """Put `tensors` into `model`. BackboneError names those missing, unknown, or of another shape."""
    ours = model.state_dict()
    counters = {name for name in ours if name.endswith("num_batches_tracked")}  # old checkpoints lack them; unused here
    faults = {
        "missing": [name for name in ours if name not in tensors and name not in counters],
        "unknown": [name for name in tensors if name not in ours],
        "of another shape": [
            f"{name} (file {tuple(tensors[name].shape)}, network {tuple(value.shape)})"
            for name, value in ours.items()
            if name in tensors and tensors[name].shape != value.shape
        ],
    }
    found = [
        f"{len(names)} {fault}: {', '.join(names[:SHOWN])}{' …' if len(names) > SHOWN else ''}"
        for fault, names in faults.items()
        if names
    ]
    if found:
        raise BackboneError(f"{path} does not fit this network; {'; '.join(found)}")
    model.load_state_dict(tensors, strict=False)


def fingerprint(path: Path) -> str:
    """What the weights are, for the feature cache: the file's content."""
    return digest(path)[:16]


def digest(path: Path) -> str:
    """A file's SHA-256, computed once in a process for as long as the file stays as it is."""
    status = path.stat()
    return _digest(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _digest(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def expect(path: Path, sha256: str, remedy: str) -> None:
    """BackboneError unless a file that a package brings is the one that we know. remedy: how to get it again."""
    if (found := digest(path)) != sha256:
        raise BackboneError(
            f"{path} is another file than expected (SHA-256 {found}, expected {sha256}): {remedy}. If it comes out the "
            "same, what is offered there has changed and must not be trusted; --weights FILE takes a file of your own"
        )


RANDOM_ID = f"random, seed {RANDOM_SEED}, torch {torch.__version__}"


@contextlib.contextmanager
def seeded() -> Iterator[None]:
    """Networks built inside draw their first weights from RANDOM_SEED, and leave the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        yield
