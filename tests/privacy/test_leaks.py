"""Attacks on decoded payloads: right where the answer is known, and at chance where there is nothing to find."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from leaks import Run, Seen, answers, dealt_anew, first_rounds, references, shuffled

from deltamask.codecs import codecs
from deltamask.masking import masks, noise
from deltamask.methods import deltamask
from deltamask.privacy import leaks
from deltamask.task.task import Task, load_task
from tests.support import tiny

D = 4000
CLASSES = 5


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(8)


def test_flips_and_masks_are_the_updates_of_theta_in_the_mean(rng: np.random.Generator) -> None:
    before, after = (masks.to_fixed(rng.random(40)) for _ in range(2))
    flips_say, mask_says = np.zeros(40), np.zeros(40)
    for round in range(4000):
        u = noise.PublicNoise(1, round, 0).words(0, 40)
        flips_say += leaks.update_of_flips(before, u, masks.flips(after, before, u))
        mask_says += leaks.update_of_mask(before, masks.sample(after, rng.integers(0, masks.ONE, 40, np.uint16)))
    true = masks.to_float(after) - masks.to_float(before)
    assert np.abs(flips_say / 4000 - true).max() < 0.03
    assert np.abs(mask_says / 4000 - true).max() < 0.03


def test_shares_of_a_sum_of_references_are_found_and_do_not_depend_on_its_length(rng: np.random.Generator) -> None:
    references = rng.standard_normal((CLASSES, D), np.float32)
    shares = np.array([0.5, 0.0, 0.2, 0.3, 0.0])
    for length in (1.0, 0.01):
        update = (length * shares @ references).astype(np.float32)
        np.testing.assert_allclose(leaks.label_shares(update, references), shares, atol=1e-4)
    noisy = (shares @ references).astype(np.float32) + rng.standard_normal(D, np.float32)
    assert leaks.total_variation(leaks.label_shares(noisy, references), shares) < 0.1


def test_what_is_like_no_class_gives_equal_shares(rng: np.random.Generator) -> None:
    references = np.abs(rng.standard_normal((CLASSES, D), np.float32))
    np.testing.assert_array_equal(leaks.label_shares(-references[0], references), np.full(CLASSES, 1 / CLASSES))
    assert np.isfinite(leaks.label_shares(references[0], np.repeat(references[:1], CLASSES, 0))).all()


def test_distance_of_shares_by_hand() -> None:
    assert leaks.total_variation(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1
    assert leaks.total_variation(np.array([0.5, 0.3, 0.2]), np.array([0.3, 0.3, 0.4])) == pytest.approx(0.2)


def test_auc_and_true_positives_by_hand(rng: np.random.Generator) -> None:
    assert leaks.auc(np.array([3.0, 1.0]), np.array([0.0, 1.0])) == pytest.approx(3.5 / 4)
    assert np.isnan(leaks.auc(np.array([]), np.array([1.0])))
    negative = np.arange(200.0)
    assert leaks.true_positives(np.array([197.0, 197.5, 198.0, 500.0]), negative) == pytest.approx(0.75)
    assert leaks.true_positives(np.array([5.0]), np.zeros(10)) == 1
    same = leaks.auc(rng.standard_normal(2000), rng.standard_normal(2000))
    assert same == pytest.approx(0.5, abs=0.03)


def test_messages_are_linked_where_clients_have_a_direction_of_their_own(rng: np.random.Generator) -> None:
    own, common = rng.standard_normal((30, D), np.float32), 5 * rng.standard_normal(D, np.float32)
    first, second = (common + own + 3 * rng.standard_normal((30, D), np.float32) for _ in range(2))
    linked = leaks.linkability(first, second)
    assert linked.auc > 0.99
    assert linked.found > 0.9
    strangers = leaks.linkability(first, common + rng.standard_normal((30, D), np.float32))
    assert strangers.auc == pytest.approx(0.5, abs=0.15)


def test_matching_takes_as_many_of_each_label_from_both(rng: np.random.Generator) -> None:
    held, other = rng.integers(0, 3, 300), np.repeat([0, 1, 5], [7, 200, 9])
    first, second = leaks.matched(held, other, 40, rng)
    assert np.bincount(held[first]).tolist() == np.bincount(other[second]).tolist() == [7, 40]
    assert len(set(first)) == len(first)


@pytest.fixture(scope="module")
def task(tiny_cache: Path) -> Task:
    return load_task(tiny.config(dirichlet_alpha=0.1))


def run_of(task: Task, method: str, **changes: object) -> Run:
    """Two real rounds of small clients that differ."""
    return first_rounds(tiny.config(dirichlet_alpha=0.1, method=method, local_epochs=4, **changes), task)


@pytest.mark.parametrize("method", ["deltamask", "fedpm", "finetune"])
def test_payloads_of_real_training_tell_the_clients_labels(task: Task, method: str) -> None:
    run = run_of(task, method, lr=0.3, weight_lr=0.003)
    truth = task.label_counts / task.label_counts.sum(1, keepdims=True)
    prior = task.label_counts.sum(0) / task.label_counts.sum()
    own = references(run, 1)
    guessed = [leaks.label_shares(update, own) for update in run.updates(1)]
    blind = [leaks.label_shares(update, own) for update in answers(run, shuffled(task, 0), 1)]
    distance, of_prior, of_control = (
        np.mean([leaks.total_variation(guess, true) for guess, true in zip(guesses, truth, strict=True)])
        for guesses in (guessed, [prior] * len(truth), blind)
    )
    assert distance < 0.8 * of_prior
    assert of_control > distance + 0.1


def test_answers_are_the_very_payloads_of_the_run(task: Task) -> None:
    """Asked again for what clients hold, they say what they said; for other samples, something else."""
    run = run_of(task, "deltamask", codec="gap")
    for round in (1, 2):
        np.testing.assert_array_equal(answers(run, task, round), run.updates(round))
    assert (answers(run, dealt_anew(task, 0), 2) != run.updates(2)).any()


def test_a_filter_is_read_as_its_flips_and_false_ones(task: Task) -> None:
    run = run_of(task, "deltamask", codec="gap")
    exact, filtered = run.updates(1), run.updates(1, "bfuse8")
    assert (filtered[exact != 0] == exact[exact != 0]).all()
    known = deltamask.context(run.config, run.seen.states[0].theta, run.seen.states[0].layers, 1, 0)
    flips = np.flatnonzero(exact[0])
    sent = codecs["bfuse8"].encode(flips, known)
    np.testing.assert_array_equal(np.flatnonzero(filtered[0]), codecs["bfuse8"].decode(sent, known))
    assert isinstance(run.seen, Seen)
