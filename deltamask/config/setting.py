"""One declaration a field: its range, its words, its place in the form, and who reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BaseModel, Field

from deltamask.base.registry import find

GROUPS = ("Task", "Clients", "Method", "Bits", "Network and data", "Training", "Storage")  # of the form, in its order


@dataclass(frozen=True)
class Setting:
    """What people should know of a field of RunConfig, apart from its type, range and description.

    label, group: in the form. accuracy, bits: what it does to each. registry: the kind of thing that may be chosen;
    prefix: beyond registered names, any that begin so, or with one of these. reader: the kind of thing that reads the
    field where it lists it in its `reads`; None: every run does.
    """

    label: str
    group: str
    accuracy: str
    bits: str
    registry: str | None = None
    prefix: str | tuple[str, ...] | None = None
    reader: str | None = None

    @property
    def effect(self) -> str:
        """Both effects as text, for a control's help."""
        return f"**Accuracy:** {self.accuracy}. **Bits:** {self.bits}."


def setting(
    default: Any,
    *,
    about: str,
    label: str,
    group: str,
    accuracy: str,
    bits: str,
    registry: str | None = None,
    prefix: str | tuple[str, ...] | None = None,
    reader: str | None = None,
    **bounds: float,
) -> Any:
    """A field of RunConfig. about: what it is, for `--help` and the form. bounds: ge, gt, le, lt."""
    if group not in GROUPS:
        raise ValueError(f"group {group!r} is none of {', '.join(GROUPS)}")
    info: Any = Field(default, description=about, **cast(Any, bounds))
    info.metadata.append(Setting(label, group, accuracy, bits, registry, prefix, reader))
    return info


def _registered(kind: str) -> AfterValidator:
    def check(name: str) -> str:
        if name not in find(kind):
            raise ValueError(f"no {kind} of this name is registered")
        return name

    return AfterValidator(check)


MethodName = Annotated[str, _registered("method")]
CodecName = Annotated[str, _registered("codec")]
HeadName = Annotated[str, _registered("head")]
UpdateCodecName = Annotated[str, _registered("update codec")]
AttackName = Annotated[str, _registered("attack")]
PartitionName = Annotated[str, _registered("partition")]


class Described(BaseModel):
    """A model whose fields are all declared by `setting`."""

    @classmethod
    def setting(cls, name: str) -> Setting:
        """What was declared of a field."""
        return next(entry for entry in cls.model_fields[name].metadata if isinstance(entry, Setting))

    @classmethod
    def read_by(cls, kind: str) -> frozenset[str]:
        """The fields that only some things of this kind read."""
        return frozenset(name for name in cls.model_fields if cls.setting(name).reader == kind)
