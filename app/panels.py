"""The panels of one run: state and buttons, figures, curves, the pictures of a round. Reads run folders only."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import processes
import streamlit as st
from PIL import Image

from deltamask import charts, export
from deltamask.store import ACTIVE, Payload, Run

CHART: dict[str, Any] = {"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d"]}
PICTURE_WIDTH = 300  # pixels on screen; the picture is enlarged by a whole factor, without smoothing
MAX_PICTURES = 6


def watch(run_id: str, others: list[str], state_before: str | None) -> None:
    """Everything that follows the run. Redrawn once a second while it is under way."""
    processes.reap()
    run = processes.read(run_id)
    if run is None:
        _draw_start(run_id)
        return
    if state_before is None or (state_before in ACTIVE and run.state not in ACTIVE):
        st.rerun()  # the run has begun or ended: the whole page must know
    _draw_state(run)
    if not run.records:
        return
    _draw_figures(run)
    round = _choose_round(run)
    compared = [other for name in others if (other := processes.read(name))]
    _draw_curves([run, *compared], round)
    _draw_round(run, round)


def _draw_start(run_id: str) -> None:
    """Between the press of Run and the first sign of the process."""
    if processes.started_and_gone(run_id):
        st.error(f"The run did not start:\n```\n{processes.log_tail(run_id)}\n```")
    else:
        st.progress(0.0, text="Starting: loading the libraries")


def _draw_state(run: Run) -> None:
    """State, progress with time left, and the buttons that make sense in this state."""
    text, *buttons = st.columns([4, 1, 1, 1])
    status, state = run.status, run.state
    with text:
        if state in ACTIVE:
            st.progress(*_progress(run))
        elif state == "failed":
            st.error(f"Failed: {status.get('message')}")
        elif state == "killed":
            st.warning("The process is gone: killed, or the machine went down. Resume goes on from the last round.")
        elif state == "stopped" and status:
            st.info(f"Stopped after round {status.get('round')} of {run.config.rounds}.")
        else:
            st.caption(f"Finished: {run.config.rounds} rounds. `{export.command_line(run.config)}`")
    actions = {
        "starting": [("Stop", "stop", "stop")],
        "running": [("Pause", "pause", "pause"), ("Stop", "stop", "stop")],
        "paused": [("Go on", "play_arrow", "run"), ("Step", "skip_next", "step"), ("Stop", "stop", "stop")],
        "stopped": [("Resume", "play_arrow", "resume")],
        "failed": [("Resume", "play_arrow", "resume")],
        "killed": [("Resume", "play_arrow", "resume")],
    }.get(state, [])
    if state == "stopped" and not status:
        actions = []
    for place, (name, icon, word) in zip(buttons, actions, strict=False):
        if place.button(name, icon=f":material/{icon}:", key=f"{word}_{run.id}", width="stretch"):
            if word == "resume":
                processes.resume(run)
                st.rerun()
            processes.ask(run, word)


def _progress(run: Run) -> tuple[float, str]:
    """(share done, what is going on and how long it will take) of an active run."""
    progress = run.status.get("progress") or {}
    done, total = progress.get("done", 0), max(1, progress.get("total", 1))
    what = progress.get("what", "")
    if run.state == "starting" or not what:
        return 0.0, "Starting: loading the libraries"
    if not what.startswith("round"):
        return done / total, f"{what}: {done:,} of {total:,} (once for this task, then cached)"
    rounds = run.config.rounds
    finished = len(run.records)
    share = min(1.0, (finished + done / total) / (rounds + 1))
    if run.state == "paused":
        return share, f"Paused after round {finished - 1} of {rounds}"
    seconds = [sum(record["seconds"].values()) for record in run.records if record["round"] > 0][-5:]
    left = ""
    if seconds:
        left = f", about {_duration(float(np.mean(seconds)) * (rounds + 1 - finished - done / total))} left"
    return share, f"Round {finished} of {rounds}, client {min(done + 1, total)} of {total}{left}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _draw_figures(run: Run) -> None:
    """The headline figures, each a field of the record or a sum of one."""
    summary, last = run.summary(), run.records[-1]
    probe = run.records[0]["accuracy"]
    cells = st.columns(5)
    cells[0].metric(
        f"Accuracy, round {last['round']}", f"{last['accuracy']:.4f}",
        delta=f"{last['accuracy'] - probe:+.4f} vs round 0" if last["round"] else None,
        help="Server model on the test set, with the mean mask (weights times θ_g). The delta is to round 0.",
    )  # fmt: skip
    cells[1].metric(
        "Accuracy, last ten", f"{summary['accuracy']:.4f}",
        help="Mean over the last ten rounds: one round's figure is noisy.",
    )  # fmt: skip
    bpp = summary["bpp_up"]
    cells[2].metric(
        "Uplink a round", "–" if bpp is None else f"{bpp:.4f} bpp",
        help="Bits per parameter and client: 8 × bytes really sent / d, averaged over the rounds after 0.",
    )  # fmt: skip
    cells[3].metric(
        "Uplink in all", f"{summary['bpp_up_total']:.2f} bpp",
        help="All a client has sent so far, the head of round 0 included. Full fine-tuning sends 32 bpp a round.",
    )  # fmt: skip
    cells[4].metric("Sent in all", _bytes(summary["uplink_bytes"]), help="Sum of all clients' uplink payloads so far.")


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def _choose_round(run: Run) -> int:
    """One slider for every panel. It moves along with a running run until the user moves it back."""
    last = int(run.records[-1]["round"])
    if last == 0:
        return 0
    seen = st.session_state.get("round_of", (run.id, None))
    following = seen[0] != run.id or seen[1] is None or st.session_state.get("round", seen[1]) >= seen[1]
    if following:
        st.session_state.round = last
    st.session_state.round = min(st.session_state.round, last)
    st.session_state.round_of = (run.id, last)
    about = "Drives every panel below. Arrow keys work. Round 0 is linear probing."
    return int(st.slider("Round", 0, last, key="round", help=about))


def _draw_curves(runs: list[Run], round: int) -> None:
    """Accuracy against bits and against rounds."""
    for place, against in zip(st.columns(2), ("bits", "rounds"), strict=True):
        with place:
            st.subheader(f"Accuracy against {against}")
            figure = charts.accuracy_curves(runs, against=against, at_round=round)
            st.plotly_chart(figure, key=f"{against}_curve", config=CHART)
    with st.expander("The same as a table"):
        rows = [{"run": charts.label(run), "folder": run.id, "state": run.state, **run.summary()} for run in runs]
        st.dataframe(rows, hide_index=True)


def _draw_round(run: Run, round: int) -> None:
    """What crossed the wire in a round, what it cost, and whom it served."""
    record = next((record for record in run.records if record["round"] == round), None)
    if record is None:
        return
    st.subheader(f"Round {round}: what the clients sent")
    st.caption(_sentence(run, record))
    for client in record["clients"]:
        if client["dropped"]:
            st.warning(f"Client {client['client']} was dropped in this round: {client['dropped']}")
    _draw_pictures(run, run.payloads(round))
    if round > 0 and run.config.method == "deltamask":
        left, middle, right = st.columns(3)
        with left:
            st.markdown("**Flips a client**")
            st.plotly_chart(charts.flips_by_round(run), key="flips", config=CHART)
        with middle:
            st.markdown("**Bits sent, and the bounds**")
            st.plotly_chart(charts.bits_by_round(run), key="bits", config=CHART)
        with right:
            st.markdown("**Accuracy by client**")
            st.plotly_chart(charts.client_accuracies(run, round, height=300), key="client_accuracy", config=CHART)
    else:
        st.markdown("**Accuracy by client**")
        st.plotly_chart(charts.client_accuracies(run, round), key="client_accuracy", config=CHART)
    if run.task:
        with st.expander(f"Who holds what: label split of this run, α = {run.config.dirichlet_alpha:g}"):
            counts = np.array(run.task["label_counts"])
            st.plotly_chart(charts.label_split(counts, run.task["classes"]), key="run_split", config=CHART)
    with st.expander("The clients of this round as a table, and seconds by stage"):
        st.dataframe(record["clients"], hide_index=True)
        st.dataframe([record["seconds"]], hide_index=True)


def _sentence(run: Run, record: dict[str, Any]) -> str:
    count = len(record["clients"])
    clients = f"{count} client{'s' if count > 1 else ''}"
    bits = f"{record['bpp_up']:.4f} bits per parameter and client"
    text = f"{clients} sent {record['uplink_bytes']:,} bytes together: {bits}."
    if record["round"] == 0:
        return (
            text + " These are float32 classifier heads from one round of linear probing, with which every run starts."
        )
    if record["kept"] is not None:
        text += f" On average {record['flips']:,.0f} mask bits flipped and {record['kept']:,.0f} were sent"
        text += f"; the filter added {record['false_flips']:,.0f} false ones." if record["false_flips"] else "."
    return text


def _draw_pictures(run: Run, payloads: list[Payload]) -> None:
    if not payloads:
        st.info("No payload of this round was kept. Set *Keep payloads* to `few` or `all` to see the pictures.")
        return
    for place, payload in zip(st.columns(min(len(payloads), MAX_PICTURES)), payloads, strict=False):
        data = payload.path.read_bytes()
        picture, sent_as_picture = _picture(data, payload.path.suffix)
        with place:
            st.image(_enlarged(picture))
            kind = "sent as this PNG" if sent_as_picture else "sent as bytes, drawn here as pixels"
            st.caption(f"Client {payload.client}: {len(data):,} bytes, {picture.width} × {picture.height}, {kind}")
            st.download_button(
                payload.path.name, data, payload.path.name, key=f"get_{payload.path.name}",
                icon=":material/download:", type="tertiary", on_click="ignore",
            )  # fmt: skip
    if len(payloads) > MAX_PICTURES:
        st.caption(f"{len(payloads) - MAX_PICTURES} more in {run.path / 'payloads'}")


def _picture(data: bytes, suffix: str) -> tuple[Image.Image, bool]:
    """(grayscale picture, was it sent as one). Other payloads are drawn byte by byte."""
    if suffix == ".png":
        return Image.open(io.BytesIO(data)).convert("L"), True
    width = math.isqrt(max(0, len(data) - 1)) + 1
    height = -(-len(data) // width)
    pixels = np.frombuffer(data.ljust(width * height, b"\0"), np.uint8)
    return Image.fromarray(pixels.reshape(height, width)), False


def _enlarged(picture: Image.Image) -> Image.Image:
    factor = max(1, PICTURE_WIDTH // max(1, picture.width))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
