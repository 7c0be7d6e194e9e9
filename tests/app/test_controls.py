"""The form offers every field of a run."""

from __future__ import annotations

from lab.controls import GROUPS, LABELS
from lab.effects import EFFECTS

from deltamask.config import RunConfig


def test_every_field_has_a_control_and_says_what_it_does() -> None:
    fields = set(RunConfig.model_fields)
    assert fields <= {name for names in GROUPS.values() for name in names}
    assert fields <= LABELS.keys()
    assert fields <= EFFECTS.keys()
