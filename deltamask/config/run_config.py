"""RunConfig: the single description of a run.

The command line, the dashboard's form, the stored `config.json` and the run id all derive from the fields below, so a
field is declared, bounded and explained once.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

import annotated_types
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from deltamask.base.units import ceil

MethodName = Literal[
    "deltamask", "fedpm", "deepreduce", "fedmask", "linear-probe",
    "finetune", "lora", "signsgd", "qsgd", "drive", "eden",
]  # fmt: skip
CodecName = Literal[
    "bfuse8", "bfuse16", "bfuse32", "bfuse8-gated", "bfuse16-gated",
    "xor8", "xor16", "bloom", "bloom-p0", "rice", "gap", "mask",
]  # fmt: skip
UpdateCodecName = Literal["fp32", "fp16", "signsgd", "qsgd", "drive", "eden4", "eden1", "eden0.5"]
Downlink = Literal["counts", "fp32"]
Noise = Literal["shared", "per_client"]
Aggregation = Literal["beta", "unbiased"]
Schedule = Literal["constant", "cosine"]
KeepPayloads = Literal["none", "few", "all"]
EvaluateOn = Literal["test", "validation"]
Device = Literal["auto", "cpu", "cuda", "mps"]
FeaturePrecision = Literal["float32", "float16"]
BadImages = Literal["stop", "skip"]


class RunConfig(BaseModel):
    """A federated fine-tuning run: what is learnt, by whom, how, and what is kept."""

    # A value out of range raises pydantic.ValidationError; explain_errors turns it into one line a field.

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # What is learnt
    method: MethodName = Field(
        "deltamask",
        description="Federated method. `deltamask` and `deepreduce` send mask changes, `fedpm` and `fedmask` whole "
        "masks, `linear-probe` the classifier head, `lora` low-rank adapters, `finetune` all weights of the tail, and "
        "`signsgd`, `qsgd`, `drive` and `eden` those in a few bits each.",
    )
    backbone: str = Field(
        "efficientnet_lite0", description="Pretrained network (see `deltamask doctor`), or `timm:NAME`."
    )
    weights: str = Field(
        "pretrained",
        description="The backbone's weights: `pretrained`, a file of them (safetensors or a torch checkpoint), or "
        "`random`: untrained, to try a backbone's size and speed without its file.",
    )
    masked_blocks: int = Field(
        1,
        ge=1,
        le=64,
        description="How many of the last blocks are masked. More blocks: more to learn and more bits to send.",
    )
    image_size: int = Field(
        96,
        ge=32,
        le=518,
        description="Images are resized to this many pixels a side. ViTs need a multiple of their patch "
        "and were mostly trained on 224; text backbones do not read it.",
    )
    dataset: str = Field(
        "fashion-mnist-mini",
        description="Dataset name (see `deltamask doctor`), or `folder:PATH` with a folder of images for each class.",
    )
    train_samples: int = Field(
        6000,
        ge=1,
        le=10_000_000,
        description="Training images used, from the front of the dataset's fixed order; more than there are means all.",
    )
    test_samples: int = Field(
        2000,
        ge=1,
        le=10_000_000,
        description="Test images used, from the front of the fixed order; more than there are means all.",
    )
    evaluate_on: EvaluateOn = Field(
        "test",
        description="`validation`: measure on the training images that follow the first train_samples, as many as "
        "test_samples says, and touch no test image: for choosing settings.",
    )
    bad_images: BadImages = Field(
        "stop",
        description="What to do about an image file that cannot be read: `stop` and name it, or `skip` it; the run "
        "lists what it skipped.",
    )
    feature_precision: FeaturePrecision = Field(
        "float32",
        description="How trunk features are kept on disk. `float16` takes half the space; whatever is computed from "
        "them is computed in float32.",
    )

    # By whom
    clients: int = Field(5, ge=1, le=100_000, description="N, the number of clients that hold data.")
    rho: float = Field(1.0, gt=0, le=1, description="ρ, the share of clients sampled each round: K = ⌈ρN⌉.")
    dirichlet_alpha: float = Field(
        10.0,
        gt=0,
        le=10_000,
        description="α_dir, concentration of the label split: 10 is close to IID, 0.1 strongly non-IID.",
    )
    min_client_samples: int = Field(
        8,
        ge=1,
        le=100_000,
        description="Every client holds at least this many training samples.",
    )

    # How
    rounds: int = Field(60, ge=1, le=10_000, description="Federated rounds after the head's probing round (round 0).")
    local_epochs: int = Field(
        1,
        ge=1,
        le=100,
        description="E, passes over its own data that a client makes each round.",
    )
    batch_size: int = Field(64, ge=1, le=4096, description="Local batch size.")
    lr: float = Field(
        0.1,
        gt=0,
        le=10,
        description="Adam's step size on the scores. Larger moves more mask bits each round: faster, and more bits to "
        "send.",
    )
    lr_schedule: Schedule = Field(
        "constant",
        description="`cosine` lowers lr to 0 over the rounds; late flips are mostly optimiser noise, so it saves bits.",
    )
    adam_eps: float = Field(
        1e-8,
        gt=0,
        le=1,
        description="ε of Adam on the scores. Larger leaves scores with small gradients where they are: fewer bits.",
    )
    weight_lr: float = Field(
        0.0003,
        gt=0,
        le=1,
        description="Adam's step size on weights: of `finetune`, what compresses it, and `lora`.",
    )
    lora_rank: int = Field(
        4, ge=1, le=256, description="r, the rank of `lora`'s adapters: more to learn, more to send."
    )
    update_codec: UpdateCodecName = Field(
        "fp32",
        description="How the update of `finetune` and `lora` becomes bytes: 32, 16, 4, 1 or half a bit a value, or as "
        "`signsgd`, `qsgd` and `drive` do it.",
    )
    theta_init: float = Field(0.95, gt=0, lt=1, description="θ₀, the mask probability every weight starts with.")
    noise: Noise = Field(
        "per_client",
        description="Public randomness u. `shared`: one u for all clients (paper); `per_client`: one for each, which "
        "keeps θ from collapsing to 0 or 1. Costs no bits.",
    )
    aggregation: Aggregation = Field(
        "beta",
        description="`beta`: posterior of the decoded masks (paper); `unbiased`: θ += η·mean(m̂ − m_g), far less noisy.",
    )
    server_lr: float = Field(
        1.0, gt=0, le=10, description="η, the server's step; read by `unbiased` and by the methods that send weights."
    )
    kappa: float = Field(
        1.0,
        gt=0,
        le=1,
        description="κ, the share of flips that are sent, largest KL(θ_k‖θ_g) first. Smaller: fewer bits, slower "
        "learning.",
    )
    kappa_schedule: Schedule = Field(
        "constant",
        description="`cosine` lowers κ from its value towards 0 over the rounds.",
    )
    codec: CodecName = Field(
        "bfuse8",
        description="How a set of flips becomes bytes; read by `deltamask` only. `bfuse8/16/32`: the paper's filter "
        "with that many bits per entry (bpe), false flips ≈ d·2^−bpe. `-gated`: fewer false flips for 2 bytes. `gap`: "
        "ours, exact, a third of bfuse8's bits. `mask`: the whole mask.",
    )
    downlink: Downlink = Field(
        "counts",
        description="How θ_g reaches the clients. `counts`: what changed, entropy-coded given what they have; `fp32`: "
        "all of it in every round, 32 bits a parameter. Methods that send weights always do the latter.",
    )
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the sampled clients that vanish before they answer. The round goes on without them.",
    )
    probe_epochs: int = Field(
        40,
        ge=1,
        le=1000,
        description="Local epochs of the linear-probing round that initialises the head.",
    )
    probe_lr: float = Field(0.001, gt=0, le=1, description="Adam's step size for the head.")

    # Bookkeeping
    device: Device = Field(
        "auto",
        description="Where tensors are computed. `auto`: CUDA, else MPS, else CPU. Not part of the run's id: it says "
        "where, not what.",
    )
    seed: int = Field(0, ge=0, le=2**32 - 1, description="Every random draw derives from it.")
    keep_payloads: KeepPayloads = Field(
        "few",
        description="Which uplink payloads stay on disk: of no client, of the first two sampled each round, or of all.",
    )

    @model_validator(mode="after")
    def _enough_samples(self) -> RunConfig:
        need = self.clients * self.min_client_samples
        if need > self.train_samples:
            raise ValueError(
                f"clients × min_client_samples = {self.clients} × {self.min_client_samples} = {need} exceeds "
                f"train_samples = {self.train_samples}: lower one of the first two or raise train_samples"
            )
        return self

    @property
    def clients_per_round(self) -> int:
        """K = ⌈ρN⌉, at least 1."""
        return ceil(self.rho * self.clients)

    @property
    def run_id(self) -> str:
        """Readable and unique to what is computed: same config, same id, whatever the `device`."""
        told = self.model_dump(exclude={"device"})
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]
        random = "-random_weights" if self.weights == "random" else ""
        return f"{self.method}-{re.sub(r'[^A-Za-z0-9.-]+', '_', self.dataset)[-40:]}{random}-{digest}"

    def replace(self, **changes: Any) -> RunConfig:
        """A validated copy with `changes`."""
        return RunConfig(**{**self.model_dump(), **changes})


def field_range(name: str) -> str:
    """The allowed values of a field in words, e.g. `0 < kappa ≤ 1` or `one of: shared, per_client`."""
    field = RunConfig.model_fields[name]
    choices = get_args(field.annotation)
    if choices:
        return "one of: " + ", ".join(map(str, choices))
    low, high = field_bounds(name)
    left = f"{low[0]} {'<' if low[1] else '≤'} " if low else ""
    right = f" {'<' if high[1] else '≤'} {high[0]}" if high else ""
    kind = {"int": "a whole number", "float": "a number", "str": "a text"}[type(field.default).__name__]
    return f"{left}{name}{right}" if low or high else kind


def field_bounds(name: str) -> tuple[tuple[float, bool] | None, tuple[float, bool] | None]:
    """((low, exclusive), (high, exclusive)) of a numeric field; None where unbounded."""
    low: tuple[float, bool] | None = None
    high: tuple[float, bool] | None = None
    for rule in RunConfig.model_fields[name].metadata:
        match rule:
            case annotated_types.Ge(ge=bound):
                low = (bound, False)  # type: ignore[assignment]
            case annotated_types.Gt(gt=bound):
                low = (bound, True)  # type: ignore[assignment]
            case annotated_types.Le(le=bound):
                high = (bound, False)  # type: ignore[assignment]
            case annotated_types.Lt(lt=bound):
                high = (bound, True)  # type: ignore[assignment]
    return low, high


def explain_errors(error: ValidationError) -> list[str]:
    """One line a fault: field, value and allowed range."""
    lines = []
    for fault in error.errors():
        name = str(fault["loc"][0]) if fault["loc"] else ""
        if fault["type"] == "extra_forbidden":
            lines.append(f"{name}: no such field; fields: {', '.join(RunConfig.model_fields)}")
        elif name in RunConfig.model_fields:
            lines.append(f"{name} = {fault['input']!r} is out of range: {field_range(name)}")
        else:
            lines.append(str(fault["msg"]).removeprefix("Value error, "))
    return lines


@functools.cache
def _alone(name: str) -> TypeAdapter[Any]:
    """The check of one field by itself: whether fields fit each other is only known when all are there."""
    field = RunConfig.model_fields[name]
    bounded: Any = Annotated[field.annotation, field]
    return TypeAdapter(bounded, config=ConfigDict(allow_inf_nan=False))


def clamp_fields(values: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Read fields that came as text (a URL). Returns (usable values, one note a value that was clamped or dropped).

    Each value is in its own field's range; RunConfig may still refuse them together (more clients than samples).
    """
    usable: dict[str, Any] = {}
    notes: list[str] = []
    for name, text in values.items():
        if name not in RunConfig.model_fields:
            notes.append(f"{name}: no such field, ignored")
            continue
        try:
            usable[name] = _alone(name).validate_python(text)
            continue
        except ValidationError:
            pass
        default = RunConfig.model_fields[name].default
        low, high = field_bounds(name)
        try:
            number = type(default)(float(text)) if isinstance(default, int | float) else None
        except (ValueError, OverflowError):
            number = None
        if number is None or number != number or low is None or high is None:
            notes.append(f"{name} = {text!r} is out of range ({field_range(name)}): using {default}")
            continue
        value = type(default)(min(max(number, low[0]), high[0]))
        if (value, True) in (low, high):  # an open end
            value = default
        notes.append(f"{name} = {text!r} is out of range ({field_range(name)}): using {value}")
        usable[name] = value
    return usable, notes
