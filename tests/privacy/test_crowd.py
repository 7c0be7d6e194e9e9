"""A promise for whole clients: its arithmetic by hand, and noise, limits and refusals in runs that make it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deltamask import methods
from deltamask.codecs import codecs
from deltamask.methods import deltamask
from deltamask.methods.base import ClientReport, Receipt
from deltamask.privacy import accountant, crowd
from deltamask.simulation.loop import Observer, simulate
from deltamask.task.task import load_task
from tests.support import tiny


def test_clients_needed_by_hand() -> None:
    assert crowd.noise_of_sum(5_000, 2.5) == 250
    assert crowd.clients_needed(5_000, 2.5, 1.0) == 250
    assert crowd.clients_needed(5_000, 2.5, 0.1) == 2500
    assert crowd.clients_needed(5_000, 2.5, 0.3) == 834
    assert crowd.clients_needed(1, 0.01, 1.0) == 1


def test_at_that_many_clients_the_signal_is_as_large_as_the_noise_and_with_one_less_it_is_not() -> None:
    for flips, sigma, agreement in ((900, 1.7, 0.07), (5_000, 4.0, 0.5)):
        needed = crowd.clients_needed(flips, sigma, agreement)
        noise = crowd.noise_of_sum(flips, sigma)
        assert crowd.signal(needed, agreement) >= noise > crowd.signal(needed - 1, agreement)


def test_a_client_moves_the_sum_by_no_more_than_the_noise_is_made_for() -> None:
    rng = np.random.default_rng(2)
    sign = rng.choice([-1, 1], 5_000)  # of a flip, which the mask before it decides
    furthest = 0.0
    for shared in (0, 150, 400):  # positions that the client flips with its own data and with the other's
        order = rng.permutation(5_000)
        own, others = order[:400], order[400 - shared : 800 - shared]
        sums = np.zeros((2, 5_000))
        sums[0, own], sums[1, others] = sign[own], sign[others]
        furthest = max(furthest, float(np.linalg.norm(sums[0] - sums[1])))
    assert furthest == pytest.approx(crowd.reach(400))
    assert crowd.noise_of_sum(400, 1.0) == crowd.reach(400)


def test_sigma_keeps_epsilon_over_all_rounds() -> None:
    sigma = crowd.sigma_for(4.0, 1e-5, 20)
    assert 3.9 < accountant.spent([accountant.Rounds(sigma, 9, 9, 20)], 1e-5) <= 4.0
    assert crowd.sigma_for(4.0, 1e-5, 40) > sigma > crowd.sigma_for(8.0, 1e-5, 20)


@pytest.mark.parametrize("agreement", [0.0, 1.01, -0.5])
def test_what_is_no_share_is_refused(agreement: float) -> None:
    with pytest.raises(ValueError, match="agreement"):
        crowd.signal(10, agreement)
    with pytest.raises(ValueError, match="flips = 0"):
        crowd.noise_of_sum(0, 1.0)


PROMISING = tiny.config(
    clients=4, dp="clients", dp_flips=20, aggregation="unbiased", codec="gap", head_init="unit-means",
    head_temperature=1.0, dp_noise=0.5, dp_epsilon=1000.0,
)  # fmt: skip


def test_what_is_shown_of_a_sum_has_noise_of_its_size_new_in_every_round() -> None:
    none = np.zeros(200_000, np.int32)
    shown = [crowd.released(PROMISING, round, none, 10**6) for round in (1, 2)]
    for each in shown:
        assert each.std() == pytest.approx(0.5 * crowd.reach(20), rel=0.01)
        assert abs(each.mean()) < 0.05
    assert abs(np.corrcoef(*shown)[0, 1]) < 0.01
    np.testing.assert_array_equal(crowd.released(PROMISING, 1, none + 7, 10**6), shown[0] + 7)
    few = crowd.released(PROMISING, 1, none, 3)
    np.testing.assert_array_equal(few, np.clip(shown[0], -3, 3))
    assert crowd.released(PROMISING, 1, none, 0) is none, "nobody answered: there is nothing to hide"
    assert crowd.released(PROMISING.replace(dp="none"), 1, none, 10) is none


def test_no_client_sends_more_flips_than_are_accounted_for(tiny_cache: Path) -> None:
    task = load_task(PROMISING)
    sent: dict[tuple[int, int], np.ndarray] = {}
    all_of_them: dict[tuple[int, int], int] = {}

    class Watch(Observer):
        def report(self, round: int, client: int, order: int, report: ClientReport) -> None:
            if round:
                sent[round, client] = report.sent
                all_of_them[round, client] = report.flips

    last = list(simulate(PROMISING, task=task, observer=Watch()))[-1]
    assert min(all_of_them.values()) > 20
    assert {len(flips) for flips in sent.values()} == {20}
    assert not any(client.dropped for client in last.clients)


def test_a_client_that_sends_more_is_refused(tiny_cache: Path) -> None:
    task = load_task(PROMISING)
    method = methods.get("deltamask")
    state = method.init(task, PROMISING, np.zeros(task.head_size, np.float32))
    known = deltamask.context(PROMISING, state.theta, task.tail.offsets, 1, 2)
    for flips, fault in ((20, None), (21, "21 flips, more than dp_flips = 20")):
        payload = codecs["gap"].encode(np.arange(flips, dtype=np.uint32), known)
        receipts: list[Receipt] = []
        after = method.server_update(PROMISING, state, 1, [(2, payload)], receipts.append)
        assert [receipt.dropped for receipt in receipts] == [fault]
        assert after.received.tolist() == ([] if fault else [2])


def test_the_document_has_the_figures_of_its_example() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "privacy.md").read_text()
    sigma = crowd.sigma_for(8.0, 1e-5, 40)
    assert f"σ = {sigma:.2f}, noise of {crowd.noise_of_sum(1000, sigma):,.0f}" in text
    for share, who in ((1.0, "clients if all agree"), (0.1, "if a tenth does"), (0.01, "if a hundredth does")):
        assert f"{crowd.clients_needed(1000, sigma, share):,} {who}" in text
