"""The form. Every control is one field of RunConfig; its help and its range come from there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st
from pydantic import ValidationError
from streamlit.delta_generator import DeltaGenerator
from ui import links

from deltamask import backbones, datasets
from deltamask.base.registry import find
from deltamask.codecs.base import OF_WIDTH
from deltamask.config import (
    GROUPS,
    RunConfig,
    choices,
    clamp_fields,
    explain_errors,
    field_bounds,
    field_range,
    is_unread,
    paper,
    readers_of,
)
from deltamask.config.presets import PRESETS

FIRST = "quick"  # what the form shows on a first visit: some seconds of training
OWN = "own settings"
STUDY = "the paper's study"
SLIDER_LOW = 0.01  # of κ and ρ
STOPS = {  # of sliders whose every step is a multiple of the one before
    "dirichlet_alpha": [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0],
    "dp_epsilon": [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0],
}

KNOBS = ("backbone", "dataset", "kappa", "codec", "dirichlet_alpha")  # always in sight; of the codec, its width
KNOB_WORDS = (
    "",
    "",
    "flips: mask bits that changed",
    "width of a filter's entry",
    "10: clients alike; 0.1: not",
)
ASKED = ("Method", "Clients", "Training", "Bits")  # the groups under "More" that come first
ACROSS = 4  # controls in a row


def key(name: str) -> str:
    """The widget key of a field."""
    return f"field_{name}"


def start_form() -> None:
    """Fill the form: from the URL when the page is opened, from what it held when one comes back to it."""
    if all(key(name) in st.session_state for name in RunConfig.model_fields):
        return
    if "form" in st.session_state:
        fill(st.session_state.form)
        st.session_state.preset = st.session_state.form_preset
        return
    given = {name: value for name, value in st.query_params.items() if name in RunConfig.model_fields}
    values, notes = clamp_fields(given)
    for name, offered in (("backbone", offered_backbones()), ("dataset", datasets.names())):
        prefix = RunConfig.setting(name).prefix or ()
        if name in values and values[name] not in offered and not values[name].startswith(prefix):
            usual = RunConfig.model_fields[name].default
            notes.append(f"{name} = {values[name]!r} is unknown (there are: {', '.join(offered)}): using {usual}")
            values[name] = usual
    for name in ("kappa", "rho"):
        if name in values and values[name] < SLIDER_LOW:
            notes.append(f"{name} = {values[name]:g} is below what the slider can show: using {SLIDER_LOW}")
            values[name] = SLIDER_LOW
    if str(values.get("dataset")).startswith(tuple(datasets.families)):
        st.session_state.folder_of_link = values["dataset"]  # `sources` reads it when the visitor says so
    given_any = bool(given) or "bpe" in st.query_params
    base = RunConfig() if given_any else PRESETS[FIRST]
    values = {**base.model_dump(), **values}
    size = _fitting(values["backbone"], values["image_size"])
    if size != values["image_size"] and "image_size" in given:
        notes.append(f"image_size = {values['image_size']} fits no patches of {values['backbone']}: using {size}")
    values["image_size"] = size
    if "bpe" in st.query_params:
        values["codec"] = _of_width(values["codec"], st.query_params.pop("bpe"), notes)
    fill(values)
    st.session_state.preset = OWN if given_any else FIRST
    for text in notes:
        links.note(text)


def _of_width(codec: str, bpe: str, notes: list[str]) -> str:
    """The codec of a link that asks for bits per entry, which are a part of the codec's name."""
    widths = _widths(codec)
    if not widths:
        notes.append(f"bpe = {bpe!r}: {codec} has no entries of a width that could be chosen, ignored")
    elif bpe not in widths:
        notes.append(f"bpe = {bpe!r} is none of {', '.join(widths)}: using {codec}")
    return widths.get(bpe, codec)


def _widths(codec: str) -> dict[str, str]:
    """Bits per entry, and the codec of this one's family that has them; none for a family that has no choice."""
    match, offered = OF_WIDTH.fullmatch(codec), choices("codec")
    found = {bpe: f"{match[1]}{bpe}{match[3] or ''}" for bpe in ("8", "16", "32")} if match else {}
    return {bpe: name for bpe, name in found.items() if name in offered}


def fill(values: dict[str, Any]) -> None:
    """Set every control."""
    for name, value in values.items():
        st.session_state[key(name)] = value


def take_over(config: RunConfig) -> None:
    """Set every control as a run has it."""
    fill(config.model_dump())
    _changed()


def offered_backbones() -> list[str]:
    return [name for name in backbones.names() if backbones.get(name).offered]


def _chosen_preset() -> None:
    chosen = st.session_state.preset
    if chosen == STUDY:  # of the backbone and the dataset in the form, if the paper has them
        asked = {"backbone": paper.BACKBONES, "dataset": paper.DATASETS}
        parts = [st.session_state[key(name)] for name in asked]
        parts = [part if part in names else names[0] for part, names in zip(parts, asked.values(), strict=True)]
        fill(paper.preset(paper.PREFIX + ":".join(parts)).model_dump())
    elif chosen != OWN:
        fill(PRESETS[chosen].model_dump())


def _changed() -> None:
    st.session_state.preset = OWN


def _chose_backbone() -> None:
    """Images of a size that it can read: a transformer cuts them into patches."""
    size = key("image_size")
    st.session_state[size] = _fitting(st.session_state[key("backbone")], st.session_state[size])
    _changed()


def _fitting(backbone: str, image_size: int) -> int:
    if backbone not in offered_backbones():
        return image_size
    low, _ = field_bounds("image_size")
    return backbones.get(backbone).fitting(image_size, int(low[0]) if low else 1)


def draw_knobs(extras: dict[str, Callable[[], None]]) -> tuple[DeltaGenerator, DeltaGenerator]:
    """The five settings that matter most, in one row; returns the places at its end, for the button that runs them, and
    below it."""
    with st.container(key="knobs"):
        *columns, end = st.columns([5, 5, 5, 5, 5, 5], gap="medium")
        for name, about, column in zip(KNOBS, KNOB_WORDS, columns, strict=False):
            with column:
                if name == "codec":
                    _draw_bpe(disabled=_is_idle(name))
                else:
                    _draw(name)
                if name in extras:
                    extras[name]()
                else:
                    st.caption(about)
        below = st.container()
    return end, below


def draw_more(extras: dict[str, Callable[[], None]]) -> tuple[RunConfig | None, list[str]]:
    """All other settings, by group. Returns (config, []) or (None, what is wrong), and keeps the URL in step.

    extras: what to draw below the control of a field.
    """
    with st.expander("More: method, clients, training, and every other setting"):
        left, right = st.columns([1, 4], gap="medium")
        left.selectbox(
            "Start from", [OWN, *PRESETS, STUDY], key="preset", on_change=_chosen_preset,
            help="`quick` trains eight rounds in some ten seconds; the `fashion` and `noniid` presets are those of the "
            "recorded runs; the paper's study needs a GPU; each control's help says which values are its own.",
        )  # fmt: skip
        left.caption(
            "Greyed: the chosen method does not read it. The ? of a setting says what it does to accuracy and bits."
        )
        groups = [group for group in dict.fromkeys((*ASKED, *GROUPS)) if _of(group)]
        with right:
            for group, tab in zip(groups, st.tabs(groups), strict=True):
                with tab:
                    _draw_group(_of(group), extras)
    values = {name: st.session_state[key(name)] for name in RunConfig.model_fields}
    st.session_state.form, st.session_state.form_preset = values, st.session_state.preset
    defaults = {name: field.default for name, field in RunConfig.model_fields.items()}
    links.write(**{name: None if value == defaults[name] else value for name, value in values.items()})
    try:
        return RunConfig(**values), []
    except ValidationError as error:
        return None, explain_errors(error)


def _of(group: str) -> list[str]:
    """The fields of a group that are no knobs; the codec is one only in its bits per entry."""
    knobs = set(KNOBS) - {"codec"}
    return [name for name in RunConfig.model_fields if RunConfig.setting(name).group == group and name not in knobs]


def _draw_group(names: list[str], extras: dict[str, Callable[[], None]]) -> None:
    """A group's controls, ACROSS in a row, in the order of reading; what belongs to one of them spans the row below."""
    for start in range(0, len(names), ACROSS):
        row = names[start : start + ACROSS]
        for name, column in zip(row, st.columns(ACROSS, gap="medium"), strict=False):
            with column:
                _draw(name)
        for name in (name for name in row if name in extras):
            extras[name]()


def _is_idle(name: str) -> bool:
    """Does a run with these settings leave this field unread?"""
    return is_unread(name, RunConfig.model_construct(**{f: st.session_state[key(f)] for f in RunConfig.model_fields}))


def _draw(name: str) -> None:
    info, setting = RunConfig.model_fields[name], RunConfig.setting(name)
    low, high = field_bounds(name)
    common: dict[str, Any] = {
        "key": key(name), "help": _help(name), "disabled": _is_idle(name),
        "on_change": _chose_backbone if name == "backbone" else _changed,
    }  # fmt: skip
    offered = offered_backbones() if name == "backbone" else choices(name)
    if offered:
        st.selectbox(setting.label, offered, accept_new_options=setting.prefix is not None, **common)
    elif name in STOPS:
        options = sorted({*STOPS[name], st.session_state[key(name)]})
        st.select_slider(setting.label, options, format_func=lambda value: f"{value:g}", **common)
    elif isinstance(info.default, bool):
        st.checkbox(setting.label, **common)
    elif isinstance(info.default, str):
        st.text_input(setting.label, **common)
    elif name in ("kappa", "rho"):
        st.slider(setting.label, SLIDER_LOW, 1.0, step=0.01, **common)
    elif isinstance(info.default, int) and low and high:
        st.number_input(setting.label, int(low[0]), int(high[0]), step=1, **common)
    elif low and high:
        # An exclusive bound is left to RunConfig, whose message is shown.
        ends = [None if exclusive else float(bound) for bound, exclusive in (low, high)]
        st.number_input(setting.label, ends[0], ends[1], step=0.01, format="%g", **common)


def _help(name: str) -> str:
    """What a field is, its range, what it does, who reads it, and the paper's own value."""
    info, setting = RunConfig.model_fields[name], RunConfig.setting(name)
    low, _ = field_bounds(name)
    parts = [f"{info.description} Range: {field_range(name)}." if low else str(info.description), setting.effect]
    if setting.registry in ("method", "partition", "head", "attack"):
        entries = map(find(setting.registry).get, find(setting.registry))
        parts += [f"**{entry.label}:** {entry.about}" for entry in entries]
    if setting.reader:
        parts.append(f"**Read by:** {', '.join(find(setting.reader)[reader].label for reader in readers_of(name))}.")
    if value := paper.SETTINGS.get(name):
        parts.append(f"**The paper's study:** {value.value} ({value.source}).")
    return "\n\n".join(parts)


def _draw_bpe(*, disabled: bool) -> None:
    """Bits per entry, for the codecs that come in several widths: another way to choose among them."""
    codec = st.session_state[key("codec")]
    widths = _widths(codec)
    st.session_state.bpe = next((bpe for bpe, name in widths.items() if name == codec), None)

    def choose() -> None:
        if st.session_state.bpe:
            st.session_state[key("codec")] = widths[st.session_state.bpe]
            _changed()

    st.segmented_control(
        "Bits per entry, bpe", list(widths) or ["8", "16", "32"], key="bpe", on_change=choose,
        disabled=disabled or not widths, width="stretch",
        help="Width of the filter's fingerprints. **Accuracy:** each bit more halves the false flips, d·2^−bpe a "
        "client. **Bits:** in proportion, some 1.15 × bpe a flip.",
    )  # fmt: skip
