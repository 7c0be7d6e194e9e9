"""Whatever is registered obeys the laws of its kind; and each law finds something that does not."""

from __future__ import annotations

import pytest

from deltamask.base.registry import find
from deltamask.conformance import LAWS, check, kinds_of

EVERYTHING = [
    (kind, name, law)
    for kind in ("method", "update codec", "head", "partition", "attack")
    for name in find(kind).names()
    for law in LAWS[kind]
]  # fmt: skip
SHIPPED = [("dataset", "digits"), ("dataset", "fashion-mnist-mini"), ("backbone", "efficientnet_lite0")]


@pytest.mark.parametrize(("kind", "name", "law"), EVERYTHING)
def test_whatever_is_registered_obeys(kind: str, name: str, law: str) -> None:
    LAWS[kind][law](find(kind).get(name))


@pytest.mark.parametrize(("kind", "name"), SHIPPED)
def test_what_ships_with_the_repository_obeys(kind: str, name: str) -> None:
    assert [outcome.fault for outcome in check(name) if outcome.kind == kind and outcome.fault] == []


def test_a_name_may_be_of_several_kinds_and_an_unknown_one_lists_what_exists() -> None:
    assert kinds_of("drive") == ["method", "update codec"]
    with pytest.raises(KeyError, match=r"nothing is registered as 'drve'. There are: method: .*deltamask.*; codec: "):
        kinds_of("drve")
