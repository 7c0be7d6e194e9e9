"""Which payload the Wire page shows: chosen by run, round and client, named in the URL, opened once."""

from __future__ import annotations

import streamlit as st
from ui.style import markdown

from deltamask.base.paths import recorded_dir, runs_dir
from deltamask.inspection import filter_lookup
from deltamask.inspection.recorded_payload import RecordedPayload, open_payload
from deltamask.masking.masks import Positions
from deltamask.runs import StoreError, payloads
from deltamask.runs.payloads import Payload
from deltamask.runs.reader import Run, list_runs, load_run

PREFERRED = ("fashion", "fashion-paper", "fashion-gap")  # runs that a first visit opens, if they are there
Stamp = tuple[int, ...]


def choose() -> tuple[Run, Payload] | None:
    """Draw the three selectors, in step with the URL. None, and a hint on the page, if no run has kept a payload."""
    runs = {run.id: run for run in list_runs(runs_dir(), recorded_dir()) if _has_payloads(run)}
    if not runs:
        st.info("No run has kept a payload yet. Press **Run** in the Lab, with *Keep payloads* set to few or all.")
        return None
    first = next((name for name in PREFERRED if name in runs), next(iter(runs)))
    link = {name: st.query_params.get(name) for name in ("run", "round", "client")}
    notes: list[str] = []
    if "wire_run" not in st.session_state:
        if link["run"] and link["run"] not in runs:
            notes.append(f"there is no run {markdown(link['run'])} with payloads: showing {markdown(first)}")
        st.session_state.wire_run = link["run"] if link["run"] in runs else first
    elif st.session_state.wire_run not in runs:
        st.session_state.wire_run = first
    columns = st.columns([2, 3, 1])
    name = columns[0].selectbox("Run", list(runs), key="wire_run", help="Runs that have kept payloads.")
    run = runs[name]
    kept = run.payloads()

    rounds = sorted({payload.round for payload in kept})
    middle = rounds[len(rounds) // 2]  # a round in which learning is under way
    round = _set_number("round", rounds, middle, link["round"], notes)
    if len(rounds) > 1:
        columns[1].select_slider("Round", rounds, key="wire_round", help="Round 0 sends the classifier head.")
        round = st.session_state.wire_round
    clients = [payload.client for payload in kept if payload.round == round]
    _set_number("client", clients, clients[0], link["client"], notes)
    columns[2].selectbox("Client", clients, key="wire_client", help="Whose payload of this round.")
    client = st.session_state.wire_client
    for note in notes:
        st.info(f"From the link: {note}", icon=":material/link:")
    st.query_params.update({"run": name, "round": str(round), "client": str(client)})
    return run, next(payload for payload in kept if (payload.round, payload.client) == (round, client))


def _has_payloads(run: Run) -> bool:
    """A run whose pack is damaged has none that could be shown. There may be hundreds of runs: this must be quick."""
    try:
        return payloads.has_uplink(run.path)
    except StoreError:
        return False


def _set_number(name: str, offered: list[int], default: int, asked: str | None, notes: list[str]) -> int:
    """Put a number that is offered into the widget's state: as it was, the nearest to the link's, or the default."""
    key = f"wire_{name}"
    if key not in st.session_state and asked is not None:
        try:
            wanted = int(asked)
        except ValueError:
            notes.append(f"{name} = {markdown(asked)!r} is no number: using {default}")
            wanted = default
        nearest = min(offered, key=lambda value: abs(value - wanted))
        if nearest != wanted:
            notes.append(f"{name} = {wanted} is not there: using {nearest}")
        st.session_state[key] = nearest
    elif st.session_state.get(key) not in offered:
        old = st.session_state.get(key, default)
        st.session_state[key] = min(offered, key=lambda value: abs(value - old))
    return int(st.session_state[key])


def open_cached(run: Run, payload: Payload) -> RecordedPayload:
    """The payload, opened once for all visitors. Raises DecodeError, StoreError or OSError."""
    return _open(str(run.path), payload.name, stamp(run, payload), payload)


def stamp(run: Run, payload: Payload) -> Stamp:
    """Changes when the payload's file or what is known of its run changes: a part of every cache's key."""
    return payload.changed, payload.size, (run.path / "task.json").stat().st_mtime_ns, len(run.records)


@st.cache_resource(show_spinner="Opening the payload", max_entries=6)
def _open(run_path: str, name: str, stamp: Stamp, _payload: Payload) -> RecordedPayload:
    return open_payload(load_run(run_path), _payload)


def askers(opened: RecordedPayload, first: int, last: int) -> Positions:
    """The positions whose answer depends on the slots first … last of the filter."""
    place = f"{opened.run.path}/{opened.payload.name}"
    return _askers(opened, place, stamp(opened.run, opened.payload), first, last)


@st.cache_resource(show_spinner=False, max_entries=64)
def _askers(_opened: RecordedPayload, place: str, stamp: Stamp, first: int, last: int) -> Positions:
    assert _opened.anatomy.filter is not None
    return filter_lookup.askers(_opened.anatomy.filter, first, last, _opened.context.d)
