"""RunConfig: the single description of a run.

The command line, the dashboard's form, the stored `config.json` and the run id all derive from its fields, so a field
is declared, bounded and explained once: here and in the six modules of fields beside this one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import ConfigDict, model_validator

from deltamask.base.units import ceil
from deltamask.config.defence_fields import DefenceFields
from deltamask.config.head_fields import HeadFields
from deltamask.config.message_fields import MessageFields
from deltamask.config.privacy_fields import PrivacyFields
from deltamask.config.setting import setting
from deltamask.config.task_fields import TaskFields
from deltamask.config.training_fields import TrainingFields

UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # in no argument of a process, and on no page
KeepPayloads = Literal["none", "few", "all"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bfloat16"]


# Pydantic lists the fields of the last one first.
class RunConfig(PrivacyFields, DefenceFields, MessageFields, HeadFields, TrainingFields, TaskFields):
    """A federated fine-tuning run: what is learnt, by whom, how, and what is kept."""

    # A value out of range raises pydantic.ValidationError; explain_errors turns it into one line a field.

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    device: Device = setting(
        "auto",
        label="Device", group="Storage",
        about="Where tensors are computed. `auto`: CUDA, else MPS, else CPU. Not part of the run's id: it says "
        "where, not what.",
        accuracy="the same but for rounding",
        bits="none",
    )  # fmt: skip
    precision: Precision = setting(
        "auto",
        label="Precision of training", group="Storage",
        about="In what a client's training takes matrix products: weights and sums stay in float32, and so do features "
        "and every evaluation. `auto`: bfloat16 on CUDA, float32 elsewhere. bfloat16 is faster on processors that "
        "multiply it (`deltamask doctor`), for transformers above all, and slower on others.",
        accuracy="the same but for rounding, see docs/speed.md",
        bits="none",
    )  # fmt: skip
    seed: int = setting(
        0,
        ge=0, le=2 ** 32 - 1,
        label="Seed", group="Training",
        about="Every random draw derives from it.",
        accuracy="some noise of its own: compare over several seeds",
        bits="hardly any",
    )  # fmt: skip
    keep_payloads: KeepPayloads = setting(
        "few",
        label="Keep payloads", group="Storage",
        about="Which uplink payloads stay on disk: of no client, of the first two sampled each round, or of all.",
        accuracy="none",
        bits="none on the wire; `all` fills the disk",
    )  # fmt: skip

    @model_validator(mode="after")
    def _plain_texts(self) -> RunConfig:
        for name, value in self:
            if isinstance(value, str) and UNPRINTABLE.search(value):
                raise ValueError(f"{name} = {value!r} holds a control character or half a character")
        return self

    @model_validator(mode="after")
    def _enough_samples(self) -> RunConfig:
        need = self.clients * self.min_client_samples
        if need > self.train_samples:
            raise ValueError(
                f"clients × min_client_samples = {self.clients} × {self.min_client_samples} = {need} exceeds "
                f"train_samples = {self.train_samples}: lower one of the first two or raise train_samples"
            )
        return self

    @model_validator(mode="after")
    def _enough_liars(self) -> RunConfig:
        if self.attack != default("attack") and self.attackers > self.clients:
            raise ValueError(f"attackers = {self.attackers} exceeds clients = {self.clients}: lower it")
        return self

    @model_validator(mode="after")
    def _private(self) -> RunConfig:
        if self.dp == "none":
            return self
        of, one = ("train_samples", "a sample") if self.dp == "samples" else ("clients", "a client's message")
        if self.dp_delta * getattr(self, of) >= 1:
            raise ValueError(
                f"dp_delta = {self.dp_delta:g} is not below 1/{of} = {1 / getattr(self, of):.2g}: it would "
                f"allow that {one} is handed out as it is"
            )
        if self.local_loss == "balanced" and self.dp == "samples":
            raise ValueError(
                "local_loss = balanced reads the client's label shares without noise: dp needs local_loss = "
                "cross_entropy"
            )
        if self.compare_alone:
            raise ValueError("compare_alone trains every client once more, which dp does not account for")
        return self

    @property
    def clients_per_round(self) -> int:
        """K = ⌈ρN⌉, at least 1."""
        return ceil(self.rho * self.clients)

    @property
    def run_id(self) -> str:
        """Readable and unique to what is computed: same config, same id, whatever the `device`.

        Only what differs from the defaults counts, so that a field that comes later changes no id.
        """
        chosen = {name: value for name, value in self.model_dump(exclude={"device"}).items() if value != default(name)}
        digest = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:8]
        random = "-random_weights" if self.weights == "random" else ""
        return f"{self.method}-{re.sub(r'[^A-Za-z0-9.-]+', '_', self.dataset)[-40:]}{random}-{digest}"

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """What differs from the defaults: short, and it makes the same config again."""
        return [(name, value) for name, value in self if value != default(name)]

    def replace(self, **changes: Any) -> RunConfig:
        """A validated copy with `changes`."""
        return RunConfig(**{**self.model_dump(), **changes})


def default(name: str) -> Any:
    """A field's default."""
    return RunConfig.model_fields[name].default
