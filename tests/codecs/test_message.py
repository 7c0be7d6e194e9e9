"""Numbers of the kinds of messages."""

from __future__ import annotations

import pytest

from deltamask.codecs.wire import message


def test_a_kind_keeps_its_number_and_may_be_registered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message, "KINDS", dict(message.KINDS))
    for _ in range(2):
        message.register_kind("toy", 230)
    assert message.KINDS["toy"].number == 230
    for name, number in (("toy", 231), ("other", 230), ("rice", 231), ("other", message.KINDS["rice"].number)):
        with pytest.raises(ValueError, match="already"):
            message.register_kind(name, number)
    for number in (0, 256):
        with pytest.raises(ValueError, match="out of range"):
            message.register_kind("other", number)
