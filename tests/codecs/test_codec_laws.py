"""The laws of `deltamask.codecs.conformance`: all codecs obey them, and each finds one that does not."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from deltamask.codecs import codecs, conformance


@pytest.mark.parametrize("law", conformance.LAWS)
@pytest.mark.parametrize("name", list(codecs))
def test_laws_hold_for_what_is_registered(name: str, law: str) -> None:
    conformance.LAWS[law](codecs[name])


_counter = itertools.count()


class Rice:
    """The package's codec, for a law to find a fault in what a test changes."""

    name, exact, suffix, false_positive_rate = "rice", True, ".bin", 0.0
    encode, decode = staticmethod(codecs["rice"].encode), staticmethod(codecs["rice"].decode)


def raises_value_error(payload: bytes, of: Any) -> Any:
    try:
        return codecs["rice"].decode(payload, of)
    except Exception:
        raise KeyError("what?") from None


@pytest.mark.parametrize(
    ("law", "fault"),
    [
        ("flips of training", {"decode": lambda payload, of: codecs["rice"].decode(payload, of)[1:]}),
        ("flips of training", {"decode": lambda payload, of: codecs["rice"].decode(payload, of)[::-1]}),
        ("few positions and all", {"encode": lambda positions, of: codecs["rice"].encode(positions[1:], of)}),
        ("few positions and all", {"exact": True, "decode": lambda payload, of: np.arange(of.d)}),
        ("same flips same bytes", {"encode": lambda positions, of: bytes([next(_counter)])}),
        ("a callers mistake is named", {"encode": lambda positions, of: b""}),
        ("damage is refused", {"decode": raises_value_error}),
        ("damage is refused", {"decode": lambda payload, of: np.arange(3)}),
        ("others messages are refused", {"decode": lambda payload, of: np.arange(3)}),
    ],
)  # fmt: skip
def test_a_law_finds_the_codec_that_breaks_it(law: str, fault: dict[str, Any]) -> None:
    codec = type("Faulty", (Rice,), {k: staticmethod(v) if callable(v) else v for k, v in fault.items()})()
    with pytest.raises(conformance.Broken):
        conformance.LAWS[law](codec)
