"""timm's networks: cut at any block they are the whole network, and a file of weights either fits or is refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from deltamask import backbones
from deltamask.backbones import BackboneError, names, timm_families
from deltamask.backbones.split import Backbone, Tail
from deltamask.config import RunConfig
from deltamask.studies.labels import config_label

# (timm's name, image size, masked blocks, the maskable weights of as many blocks by hand)
VIT_TINY = 12 * 192 * 192  # qkv, projection, and an MLP four times as wide
FAMILIES = [
    ("vit_tiny_patch16_224", 64, 2, 2 * VIT_TINY),
    ("vit_xsmall_patch16_clip_224", 64, 5, 5 * 12 * 256 * 256),
    ("deit_tiny_distilled_patch16_224", 48, 1, VIT_TINY),
    ("vit_small_patch14_reg4_dinov2", 28, 1, 12 * 384 * 384),
    ("convmixer_768_32", 35, 3, 3 * 768 * (49 + 768)),
    ("convnext_atto", 64, 3, None),
    ("efficientnet_b0", 64, 2, None),
    ("tf_efficientnetv2_b0", 64, 3, None),
    ("resnet18", 64, 3, (2 * 256 * 256 + 256 * 512 + 3 * 512 * 512) * 9 + 256 * 512),
    ("resnet50", 64, 4, None),
]


def shaken(name: str, size: int) -> Any:
    """A network in which every tensor matters: fresh ones have norms and layer scales that hide a block."""
    model = timm_families.create(name, size)
    rng = torch.Generator().manual_seed(1)
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.momentum = 1.0  # statistics of what passes below
        for parameter in part.parameters(recurse=False):
            spread = parameter.data.std().nan_to_num(0.1).clamp(min=0.1)
            parameter.data += 0.3 * spread * torch.randn(parameter.shape, generator=rng)
    with torch.no_grad():
        model.train()(torch.randn(8, 3, size, size, generator=rng))
    return model.eval()


@pytest.mark.parametrize(("name", "size", "masked_blocks", "d"), FAMILIES, ids=lambda value: str(value))
def test_trunk_and_tail_are_the_whole_network(name: str, size: int, masked_blocks: int, d: int | None) -> None:
    model = shaken(name, size)
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = model(images)
        backbone = timm_families.split(name, model, masked_blocks, "shaken")
        tail = Tail(backbone.tail)
        got = tail(backbone.trunk(images))
    assert got.shape == (2, backbone.num_features)
    scale = float(expected.abs().mean())
    torch.testing.assert_close(got / scale, expected / scale, rtol=1e-4, atol=1e-4)
    assert float((expected[0] - expected[1]).abs().mean()) > 1e-3 * scale  # the comparison is of something
    if d is not None:
        assert tail.d == d
    with torch.no_grad():  # every masked layer is felt
        features = backbone.trunk(images)
        for layer in tail.layers:
            tail.effective[layer.start : layer.stop].zero_()
            assert not torch.equal(tail(features), got), layer.name
            tail.effective.copy_(tail.weights)


def output(backbone: Backbone, images: Tensor) -> Tensor:
    with torch.no_grad():
        return Tail(backbone.tail)(backbone.trunk(images))


# Weights from a file

SMALL, SIZE = "vit_tiny_patch16_224", 64
PICTURE = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def trained() -> Any:
    """A whole network, classifier and all, at its own size of 224 px: what a checkpoint is made of."""
    torch.manual_seed(7)
    return timm.create_model(SMALL, num_classes=10).eval()


def load(path: Path | str, masked_blocks: int = 1) -> Backbone:
    return backbones.build(f"timm:{SMALL}", masked_blocks, str(path), SIZE)


@pytest.mark.parametrize("form", ["safetensors", "torch", "training checkpoint"])
def test_weights_from_a_file_are_the_file_s(trained: Any, tmp_path: Path, form: str) -> None:
    """The classifier is left out, and positions are interpolated to the image size, as timm does it."""
    path = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pth")
    state = trained.state_dict()
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3} if form == "training checkpoint" else state, path)
    backbone = load(path)
    resized = timm.create_model(SMALL, num_classes=0, img_size=SIZE)
    resized.load_state_dict(
        timm.models.vision_transformer.checkpoint_filter_fn(dict(state), resized), strict=False  # no classifier
    )  # fmt: skip
    with torch.no_grad():
        torch.testing.assert_close(output(backbone, PICTURE), resized.eval()(PICTURE), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(output(load("random"), PICTURE), output(backbone, PICTURE), atol=1e-2)
    assert backbone.weights_id != load("random").weights_id


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("missing", r"1 missing: blocks\.3\.attn\.qkv\.bias"),
        ("unknown", r"1 unknown: blocks\.12\.extra"),
        ("shape", r"1 of another shape: blocks\.5\.mlp\.fc1\.weight \(file \(10, 192\), network \(768, 192\)\)"),
        ("other", r"missing: .*; 2 unknown: a, b"),
        ("torn", "cannot be read .*download cut short"),
        ("torn torch", "cannot be read .*download cut short"),
        ("code", "cannot be read"),
        ("no tensors", "something other than a network's tensors"),
        ("absent", "no such file; a file's path, `pretrained` or `random`"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_and_the_tensors_are_named(
    trained: Any, tmp_path: Path, damage: str, message: str
) -> None:
    state = {name: value.clone() for name, value in trained.state_dict().items()}
    path = tmp_path / "weights.safetensors"
    if damage == "missing":
        del state["blocks.3.attn.qkv.bias"]
    elif damage == "unknown":
        state["blocks.12.extra"] = torch.zeros(2)
    elif damage == "shape":
        state["blocks.5.mlp.fc1.weight"] = torch.zeros(10, 192)
    elif damage == "other":
        state = {"a": torch.zeros(1), "b": torch.zeros(2)}
    if damage in ("torn torch", "code", "no tensors"):
        path = tmp_path / "weights.pth"
        torch.save({"x": 1.0} if damage == "no tensors" else state, path)
    elif damage != "absent":
        save_file(state, path)
    if damage.startswith("torn"):
        path.write_bytes(path.read_bytes()[:100_000])
    if damage == "code":
        path.write_bytes(pickle.dumps(Sneaky()))
    with pytest.raises(BackboneError, match=message):
        load(path)


class Sneaky:
    """What a pickle can do to those who load it."""

    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('code in a checkpoint was run')",))


# Weights from the hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's local cache, empty, and no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_without_a_network_the_error_says_how_to_get_the_file(hub: Path) -> None:
    with pytest.raises(BackboneError) as error:
        backbones.build("dinov2-small", 1, "pretrained", 224)
    address = "https://huggingface.co/timm/vit_small_patch14_dinov2.lvd142m/resolve/main/model.safetensors"
    for told in (address, "--weights FILE", "--weights random"):
        assert told in str(error.value)
    spec = backbones.get("dinov2-small")
    assert spec.where() is None
    assert address in spec.how_to_get


def test_what_the_hub_has_fetched_is_found_and_read_without_a_network(trained: Any, hub: Path) -> None:
    """The cache in the layout in which the hub's client leaves it."""
    name = f"timm:{SMALL}"
    repository = timm.get_pretrained_cfg(SMALL).hf_hub_id.replace("/", "--")
    revision = "0123456789012345678901234567890123456789"
    snapshot = hub / f"models--{repository}" / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (hub / f"models--{repository}" / "refs").mkdir()
    (hub / f"models--{repository}" / "refs" / "main").write_text(revision)
    save_file(trained.state_dict(), snapshot / "model.safetensors")
    place = backbones.get(name).where()
    assert place is not None
    fetched = backbones.build(name, 1, "pretrained", SIZE)
    assert fetched.weights_id == load(place).weights_id
    assert torch.equal(output(fetched, PICTURE), output(load(place), PICTURE))


# Random weights


def test_random_weights_are_the_same_every_time_and_leave_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, second = load("random"), load("random")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(output(first, PICTURE), output(second, PICTURE))
    assert "random" in first.weights_id


def test_random_weights_are_marked_wherever_a_run_is_named() -> None:
    for config in (RunConfig(weights="random"), RunConfig(weights="random", method="fedpm")):
        assert "random weights" in config_label(config)
        assert "random" in config.run_id
    assert "random" not in config_label(RunConfig()) + RunConfig().run_id


# What cannot be built


@pytest.mark.parametrize(
    ("name", "masked_blocks", "image_size", "message"),
    [
        (f"timm:{SMALL}", 12, 64, f"masked_blocks = 12: timm:{SMALL} has 12 blocks, and at least one must stay frozen"),
        ("timm:resnet10t", 5, 64, "has 4 blocks"),
        ("timm:swin_tiny_patch4_window7_224", 1, 224, "SwinTransformer, which is not a plain sequence of blocks"),
        ("dinov2-small", 1, 96, "patches of 14 px; .* such as 84, 98 or its own 518"),
    ],
)
def test_what_cannot_be_cut_says_why(name: str, masked_blocks: int, image_size: int, message: str) -> None:
    with pytest.raises(BackboneError, match=message):
        backbones.build(name, masked_blocks, "random", image_size)


def test_an_unknown_timm_name_is_answered_with_its_neighbours() -> None:
    with pytest.raises(KeyError, match=r"no model 'vit_tiny_patch61_224'; did you mean .*vit_tiny_patch16_224"):
        backbones.get("timm:vit_tiny_patch61_224")
    with pytest.raises(KeyError, match=r"unknown backbone 'vit'; there are: .*clip-vit-b32.*timm:NAME"):
        backbones.get("vit")


# The registered ones

TIMM = {
    "clip-vit-b32": ("vit_base_patch32_clip_224.openai", 5 * 12 * 768 * 768),
    "clip-vit-l14": ("vit_large_patch14_clip_224.openai", 5 * 12 * 1024 * 1024),
    "dinov2-small": ("vit_small_patch14_dinov2.lvd142m", 5 * 12 * 384 * 384),
    "dinov2-base": ("vit_base_patch14_dinov2.lvd142m", 5 * 12 * 768 * 768),
    "dinov2-large": ("vit_large_patch14_dinov2.lvd142m", 5 * 12 * 1024 * 1024),
    "convmixer-768-32": ("convmixer_768_32.in1k", 5 * 768 * (49 + 768)),
}


@pytest.mark.parametrize("name", TIMM)
def test_the_paper_s_backbones_have_the_size_that_is_told(name: str) -> None:
    """At full size, but on `meta`: shapes without memory."""
    model, d = TIMM[name]
    with torch.device("meta"):
        whole = timm.create_model(model)
        backbone = timm_families.split(name, timm.create_model(model, num_classes=0), 5, "none")
    stored = sum(value.numel() * value.element_size() for value in whole.state_dict().values())
    assert backbones.get(name).size_bytes == stored
    masked = [part for part in backbone.tail.modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    assert sum(part.weight.numel() for part in masked) == d
    assert (backbone.mean, backbone.interpolation) == (whole.pretrained_cfg["mean"], "bicubic")


def test_every_backbone_tells_what_a_user_should_know_before() -> None:
    assert set(TIMM) | {"efficientnet_lite0", "minilm-l6"} <= set(names())
    for name in names():
        spec = backbones.get(name)
        assert not spec.offered or (spec.license and spec.how_to_get and spec.size_bytes > 0)
