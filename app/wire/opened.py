"""Which payload is under the glass: chosen by run, round and client, named in the URL, opened once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import streamlit as st
from wire.text import plain

from deltamask.codecs import DecodeError
from deltamask.inspection import anatomy, filter_lookup, recorded_payload
from deltamask.inspection.anatomy import Glass
from deltamask.inspection.recorded_payload import Flips, Layer, RecordedContext
from deltamask.masking.masks import Positions
from deltamask.runs import StoreError
from deltamask.runs.reader import PAYLOAD_NAME, Payload, Run, list_runs, load_run

PREFERRED = ("fashion", "fashion-paper", "fashion-gap")  # what a first visit opens, if it is there


@dataclass(frozen=True)
class Opened:
    """A payload and all that is known of it. flips: None where the method sends none, or they cannot be read (why)."""

    run: Run
    payload: Payload
    data: bytes
    layers: list[Layer]
    context: RecordedContext
    glass: Glass
    flips: Flips | None
    why: str | None
    pixel_bits: npt.NDArray[np.float64]
    stamp: tuple[int, ...]


def choose() -> tuple[Run, Payload] | None:
    """Draw the three selectors, in step with the URL. None if there is nothing to open, which is then said."""
    runs = {run.id: run for run in list_runs() if _has_payloads(run)}
    if not runs:
        st.info("No run has kept a payload yet. Press **Run** in the Lab, with *Keep payloads* set to few or all.")
        return None
    first = next((name for name in PREFERRED if name in runs), next(iter(runs)))
    asked = {name: st.query_params.get(name) for name in ("run", "round", "client")}
    notes: list[str] = []
    if "wire_run" not in st.session_state:
        if asked["run"] and asked["run"] not in runs:
            notes.append(f"there is no run {plain(asked['run'])} with payloads: showing {plain(first)}")
        st.session_state.wire_run = asked["run"] if asked["run"] in runs else first
    elif st.session_state.wire_run not in runs:
        st.session_state.wire_run = first
    place = st.columns([2, 3, 1])
    name = place[0].selectbox("Run", list(runs), key="wire_run", help="Runs that have kept payloads.")
    run = runs[name]
    payloads = run.payloads()

    rounds = sorted({payload.round for payload in payloads})
    round = _pick("round", rounds, _middle(rounds), asked["round"], notes)
    if len(rounds) > 1:
        place[1].select_slider("Round", rounds, key="wire_round", help="Round 0 sends the classifier head.")
        round = st.session_state.wire_round
    clients = [payload.client for payload in payloads if payload.round == round]
    _pick("client", clients, clients[0], asked["client"], notes)
    place[2].selectbox("Client", clients, key="wire_client", help="Whose payload of this round.")
    client = st.session_state.wire_client
    for note in notes:
        st.info(f"From the link: {note}", icon=":material/link:")
    st.query_params.update({"run": name, "round": str(round), "client": str(client)})
    return run, next(one for one in payloads if (one.round, one.client) == (round, client))


def _has_payloads(run: Run) -> bool:
    """Whether any is kept: one look into the folder, for there may be hundreds of runs with hundreds of payloads."""
    return any(PAYLOAD_NAME.fullmatch(path.name) for path in (run.path / "payloads").glob("r*-c*"))


def _middle(rounds: list[int]) -> int:
    """A round in which learning is under way."""
    return rounds[len(rounds) // 2]


def _pick(name: str, known: list[int], default: int, asked: str | None, notes: list[str]) -> int:
    """Put a value that exists into the widget's state: as it was, the nearest to what the link asks, or the default."""
    key = f"wire_{name}"
    if key not in st.session_state and asked is not None:
        try:
            wanted = int(asked)
        except ValueError:
            notes.append(f"{name} = {plain(asked)!r} is no number: using {default}")
            wanted = default
        nearest = min(known, key=lambda value: abs(value - wanted))
        if nearest != wanted:
            notes.append(f"{name} = {wanted} is not there: using {nearest}")
        st.session_state[key] = nearest
    elif st.session_state.get(key) not in known:
        old = st.session_state.get(key, default)
        st.session_state[key] = min(known, key=lambda value: abs(value - old))
    return int(st.session_state[key])


def open_payload(run: Run, payload: Payload) -> Opened:
    """Raises DecodeError or StoreError with what to tell the visitor."""
    stamp = (payload.path.stat().st_mtime_ns, (run.path / "task.json").stat().st_mtime_ns, len(run.records))
    return _open(str(run.path), payload.path, payload.round, payload.client, stamp)


@st.cache_resource(show_spinner="Opening the payload", max_entries=6)
def _open(run_path: str, path: Path, round: int, client: int, stamp: tuple[int, ...]) -> Opened:
    run, payload = load_run(run_path), Payload(round, client, path)
    layers = recorded_payload.layers_of(run)
    context = RecordedContext(run, layers, round, client)
    data = recorded_payload.read_payload(payload)
    taken_apart = anatomy.look(data, context)
    flips, why = None, None
    if recorded_payload.carries_flips(run.config, round):
        try:
            flips = recorded_payload.flips_of(run, payload, data, context)
        except StoreError as error:
            why = str(error)
    else:
        why = "The head is sent, not flips." if round == 0 else f"{run.config.method} sends no flips."
    return Opened(run, payload, data, layers, context, taken_apart, flips, why, anatomy.pixel_bits(taken_apart), stamp)


def who_asks(opened: Opened, first: int, last: int) -> Positions:
    """The positions whose answer depends on the slots first … last of the filter."""
    return _who_asks(opened, str(opened.payload.path), opened.stamp, first, last)


@st.cache_resource(show_spinner=False, max_entries=64)
def _who_asks(_opened: Opened, path: str, stamp: tuple[int, ...], first: int, last: int) -> Positions:
    assert _opened.glass.filter is not None
    return filter_lookup.askers(_opened.glass.filter, first, last, _opened.context.d)


__all__ = ["DecodeError", "Opened", "StoreError", "choose", "open_payload", "who_asks"]
