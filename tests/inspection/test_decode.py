"""A payload on disk decodes to what its record counts; what was not kept is named."""

from __future__ import annotations

import pytest

from deltamask import decode_flips, load_run
from deltamask.runs import StoreError


@pytest.mark.parametrize("name", ["fashion", "fashion-recipe", "fashion-deepreduce"])
def test_decoded_flips_are_those_of_the_record(name: str) -> None:
    run = load_run(name)
    payload = run.payloads(20)[0]
    (line,) = [line for line in run.records[20]["clients"] if line["client"] == payload.client]
    flips = decode_flips(run, 20, payload.client)
    assert len(flips) == line["kept"] + line["false_flips"]
    assert flips.tolist() == decode_flips(name, 20, payload.client).tolist()


@pytest.mark.parametrize(
    ("run", "round", "client", "said"),
    [
        ("fashion", 0, 0, "round 0 of fashion: deltamask sends no flips"),
        ("fashion-fedpm", 3, 0, "round 3 of fashion-fedpm: fedpm sends no flips"),
        ("fashion", 20, 77, "has not kept what client 77 sent in round 20; of this round: "),
        ("no-such-run", 1, 0, "no run 'no-such-run'"),
    ],
)
def test_what_cannot_be_decoded_is_named(run: str, round: int, client: int, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        decode_flips(run, round, client)
