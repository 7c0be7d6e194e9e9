"""Heads: where a run's classifier comes from. `heads` is the registry; importing this package fills it."""

from deltamask.heads import probe  # isort: skip  # the first in every list
from deltamask.base.registry import import_all
from deltamask.heads.base import (
    ClosedForm,
    HeadKind,
    HeadSettings,
    Linear,
    Sender,
    Statistics,
    Total,
    agreed,
    closed_form,
    heads,
)  # fmt: skip

import_all(__name__, __path__)
get, names = heads.get, heads.names

__all__ = [
    "ClosedForm", "HeadKind", "HeadSettings", "Linear", "Sender", "Statistics", "Total", "agreed", "closed_form", "get",
    "heads", "names", "probe",
]  # fmt: skip
