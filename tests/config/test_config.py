"""RunConfig is the single description of a run: what it refuses, what it says, and what derives from it."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import pytest
from pydantic import ValidationError

from deltamask import codecs, methods
from deltamask.codecs import updates
from deltamask.config import RunConfig, choices, clamp_fields, explain_errors, field_bounds, field_range, readers_of
from deltamask.config.presets import PRESETS, preset
from deltamask.config.setting import GROUPS

SWITCHES = [name for name, field in RunConfig.model_fields.items() if isinstance(field.default, bool)]
NUMERIC = [
    name
    for name, field in RunConfig.model_fields.items()
    if isinstance(field.default, int | float) and name not in SWITCHES
]
FLOATS = [name for name in NUMERIC if isinstance(RunConfig.model_fields[name].default, float)]
CHOICES = [name for name in RunConfig.model_fields if RunConfig.setting(name).prefix is None and choices(name)]


def outside(name: str) -> list[float]:
    """The values nearest to a field's range that lie outside it, on both sides."""
    low, high = field_bounds(name)
    assert low is not None
    assert high is not None
    kind = type(RunConfig.model_fields[name].default)
    if kind is int:
        return [low[0] - 1, high[0] + 1]
    below = low[0] if low[1] else math.nextafter(low[0], -math.inf)
    above = high[0] if high[1] else math.nextafter(high[0], math.inf)
    return [kind(below), kind(above)]


def complaints(**values: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        RunConfig(**values)
    return explain_errors(caught.value)


def test_every_field_is_explained() -> None:
    for name, field in RunConfig.model_fields.items():
        assert field.description, name
        assert len(field.description) > 15, name


@pytest.mark.parametrize("name", NUMERIC)
def test_every_number_is_bounded_on_both_sides_and_its_default_lies_inside(name: str) -> None:
    low, high = field_bounds(name)
    assert low is not None
    assert high is not None
    assert low[0] < high[0]
    default = RunConfig.model_fields[name].default
    assert low[0] <= default <= high[0]


@pytest.mark.parametrize("name", NUMERIC)
def test_a_number_out_of_range_is_refused_with_field_value_and_range(name: str) -> None:
    low, high = field_bounds(name)
    assert low is not None
    assert high is not None
    for value in outside(name):
        (line,) = complaints(**{name: value})
        assert line == f"{name} = {value!r} is out of range: {field_range(name)}"
        left, right = ("<" if low[1] else "≤"), ("<" if high[1] else "≤")
        assert line.endswith(f"{low[0]} {left} {name} {right} {high[0]}")


@pytest.mark.parametrize("name", NUMERIC)
def test_closed_bounds_themselves_are_accepted(name: str) -> None:
    room = {"train_samples": 10_000_000, "clients": 1, "min_client_samples": 1}
    for bound, exclusive in field_bounds(name):  # type: ignore[misc]
        if not exclusive:
            values = room | {name: type(RunConfig.model_fields[name].default)(bound)}
            assert getattr(RunConfig(**values), name) == bound


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused_by_name(name: str, value: float) -> None:
    (line,) = complaints(**{name: value})
    assert line.startswith(f"{name} = {value!r} is out of range: ")


@pytest.mark.parametrize("name", CHOICES)
def test_an_unknown_choice_is_refused_with_the_choices(name: str) -> None:
    (line,) = complaints(**{name: "bogus"})
    assert line.startswith(f"{name} = 'bogus' is out of range: one of: ")
    for choice in choices(name):
        assert choice in line


def test_several_faults_give_several_lines() -> None:
    lines = complaints(kappa=2, rounds=0, batch_size="many")
    assert [line.split(" = ")[0] for line in lines] == ["rounds", "batch_size", "kappa"]


def test_an_unknown_field_is_refused_with_the_fields_that_exist() -> None:
    (line,) = complaints(kapa=0.5)
    assert line.startswith("kapa: no such field")
    assert "kappa" in line


def test_more_clients_than_samples_says_which_numbers_clash() -> None:
    (line,) = complaints(clients=1000, min_client_samples=8, train_samples=6000)
    assert "1000 × 8 = 8000" in line
    assert "train_samples = 6000" in line
    assert RunConfig(clients=750, min_client_samples=8, train_samples=6000).clients == 750


def test_a_config_cannot_be_changed_in_place() -> None:
    config = RunConfig()
    with pytest.raises(ValidationError):
        config.kappa = 0.5  # type: ignore[misc]
    assert config.replace(kappa=0.5).kappa == 0.5
    with pytest.raises(ValidationError):
        config.replace(kappa=0)
    assert config.kappa == 1.0


# Values as text, from a URL


@pytest.mark.parametrize("name", NUMERIC)
def test_clamping_text_out_of_range_gives_a_valid_value_and_a_note(name: str) -> None:
    low, high = field_bounds(name)
    default = RunConfig.model_fields[name].default
    for text, bound in (("-1e3", low), ("1e9", high)):
        usable, notes = clamp_fields({name: text})
        assert bound is not None
        expected = default if bound[1] else type(default)(bound[0])
        if name == "seed" and text == "1e9":
            expected = 10**9  # in range
        assert usable == {name: expected}
        assert type(usable[name]) is type(default)
        if name != "seed" or text != "1e9":
            (note,) = notes
            assert note == f"{name} = {text!r} is out of range ({field_range(name)}): using {expected}"


@pytest.mark.parametrize("name", list(RunConfig.model_fields))
def test_clamping_leaves_good_text_alone_and_drops_nonsense(name: str) -> None:
    default = RunConfig.model_fields[name].default
    assert clamp_fields({name: str(default)}) == ({name: default}, [])
    if name not in ("backbone", "weights", "dataset"):  # any text may name one; what is named answers later
        usable, (note,) = clamp_fields({name: "bogus"})
        assert usable == {}
        assert note == f"{name} = 'bogus' is out of range ({field_range(name)}): using {default}"


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_in_a_url(name: str) -> None:
    assert clamp_fields({name: "True"}) == ({name: True}, [])
    assert clamp_fields({name: "7"}) == ({}, [f"{name} = '7' is out of range (True or False): using False"])


def test_clamping_judges_each_field_by_itself() -> None:
    text = {"clients": "1000", "train_samples": "9000", "batch_size": "64.5", "kapa": "1"}
    usable, notes = clamp_fields(text)
    assert usable == {"clients": 1000, "train_samples": 9000, "batch_size": 64}
    assert notes == [
        "batch_size = '64.5' is out of range (1 ≤ batch_size ≤ 4096): using 64",
        "kapa: no such field, ignored",
    ]
    assert RunConfig(**usable).clients == 1000


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", ""])
def test_clamping_text_that_is_no_finite_number_gives_a_valid_config(text: str) -> None:
    usable, notes = clamp_fields(dict.fromkeys(NUMERIC, text) | {"min_client_samples": "1"})
    room = {"train_samples": 10_000_000, "clients": 5, "min_client_samples": 1}
    assert RunConfig(**(usable | room))
    assert len(notes) == len(NUMERIC) - 1


# What derives from it


@pytest.mark.parametrize(
    ("rho", "clients", "expected"),
    [(1.0, 5, 5), (0.4, 5, 2), (0.41, 5, 3), (0.001, 10, 1), (0.07, 100, 7), (0.55, 100, 55), (1 / 3, 9, 3)],
)
def test_clients_per_round_is_rho_n_rounded_up(rho: float, clients: int, expected: int) -> None:
    assert RunConfig(rho=rho, clients=clients).clients_per_round == expected


def test_run_id_is_stable_and_names_method_and_dataset() -> None:
    config = RunConfig()
    assert config.run_id == RunConfig().run_id
    assert config.run_id.startswith("deltamask-fashion-mnist-mini-")
    stored = json.loads(json.dumps(config.model_dump()))
    assert RunConfig(**stored).run_id == config.run_id
    assert "/" not in RunConfig(dataset="folder:a/b").run_id
    assert ":" not in RunConfig(dataset="folder:a/b").run_id


def test_run_id_differs_whenever_any_field_does() -> None:
    changed: dict[str, Any] = {"backbone": "tiny", "dataset": "digits", "weights": "random"}
    for name in NUMERIC:
        default = RunConfig.model_fields[name].default
        changed[name] = (default / 2 or 0.25) if isinstance(default, float) else default + 1
    changed |= {name: not RunConfig.model_fields[name].default for name in SWITCHES}
    for name in CHOICES:
        default = RunConfig.model_fields[name].default
        changed[name] = next(choice for choice in choices(name) if choice != default)
    assert changed.keys() == RunConfig.model_fields.keys()
    ids = {RunConfig(**{name: value}).run_id for name, value in changed.items()} | {RunConfig().run_id}
    assert len(ids) == len(changed)  # `device` says where, not what: it has the id of the default
    assert "random" in RunConfig(weights="random").run_id


def test_presets_are_distinct_configs_and_unknown_ones_list_them() -> None:
    assert len({config.run_id for config in PRESETS.values()}) == len(PRESETS)
    assert {"fashion", "fashion-paper", "fashion-unbiased", "fashion-fedpm", "fashion-probe", "quick"} <= set(PRESETS)
    assert (preset("fashion").noise, preset("fashion").aggregation) == ("per_client", "beta")
    assert (preset("fashion-paper").noise, preset("fashion-paper").aggregation) == ("shared", "beta")
    for name, config in PRESETS.items():
        assert RunConfig(**config.model_dump()) == config, name
    with pytest.raises(KeyError, match=r"unknown preset 'fashon'; presets: fashion, .*quick"):
        preset("fashon")


def test_config_offers_exactly_what_is_registered() -> None:
    for name, registry in (("method", methods), ("codec", codecs), ("update_codec", updates)):
        assert choices(name) == registry.names()


def test_every_field_says_where_it_stands_and_what_it_does() -> None:
    for name in RunConfig.model_fields:
        setting = RunConfig.setting(name)
        assert setting.group in GROUPS
        assert all((setting.label, setting.accuracy, setting.bits))
        assert "**Accuracy:**" in setting.effect


def test_a_field_of_methods_is_read_by_one_at_least_and_methods_read_fields_that_exist() -> None:
    for name in RunConfig.read_by("method"):
        assert readers_of(name), name
    for name in methods.names():
        assert set(methods.get(name).reads) <= RunConfig.read_by("method"), name
    assert readers_of("clients") == []


def test_a_field_that_comes_later_changes_no_id() -> None:
    """Only what differs from the defaults is in it: the hash of no difference at all, and of one."""
    assert RunConfig().run_id.endswith(hashlib.sha256(b"{}").hexdigest()[:8])
    assert RunConfig(kappa=0.5).run_id.endswith(hashlib.sha256(b'{"kappa": 0.5}').hexdigest()[:8])


@pytest.mark.parametrize("text", ["a\0b", "a\nb", "a\x1b[31m", "half \ud800", "\x7f"])
def test_texts_that_no_argument_or_page_can_hold_are_refused(text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RunConfig(dataset=text)
    (line,) = explain_errors(caught.value)
    assert line == f"dataset = {text!r} holds a control character or half a character"
    assert RunConfig(dataset="folder:/home/ä b/数据").dataset == "folder:/home/ä b/数据"
