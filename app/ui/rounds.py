"""One round of one run: its payloads as pictures, their bits, and its clients."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st
from ui import fairness, style
from ui.figures import chart, download

from deltamask.plots import client_charts, palette, pictures, run_charts
from deltamask.plots.pictures import Picture
from deltamask.runs import StoreError, figures
from deltamask.runs.reader import Run

MAX_PICTURES = 6


def draw(run: Run, round: int) -> None:
    """What the clients sent in a round, and how the run got there."""
    record = next((record for record in run.records if record["round"] == round), None)
    if record is None:
        return
    st.header(f"Round {round}: what the clients sent")
    st.markdown(_sentence(record))
    for client in record["clients"]:
        if client["dropped"]:
            reason = style.markdown(client["dropped"][:500])
            st.warning(f"Client {client['client']} was dropped in this round: {reason}")
    _draw_payloads(run, round)
    st.space("small")
    _draw_details(run, round, record)


def _draw_details(run: Run, round: int, record: dict[str, Any]) -> None:
    """The round in detail, in tabs. Only the open tab is drawn."""
    bits, clients, time = st.tabs(["Flips and bits", "Clients", "Time"], key="details", on_change="rerun")
    if bits.open:
        with bits:
            _draw_bits(run, round, record)
            if figures.own_metrics(run.rounds):
                about = "What was registered as a metric when this ran, of the server model on the test set."
                chart("Own metrics", run_charts.own_metrics(run, at_round=round), "own_metrics", about=about)
    if clients.open:
        with clients:
            _draw_clients(run, round, record)
    if time.open:
        with time:
            about = "Seconds of each round on the machine that ran it: all clients one after the other."
            chart("Time by stage", run_charts.seconds_by_stage(run, at_round=round), "seconds", about=about)


def _draw_bits(run: Run, round: int, record: dict[str, Any]) -> None:
    flips = any(entry["flips"] is not None for entry in run.records)
    places = st.columns(1 + flips + bool(record["kept_by_layer"] and run.task), gap="medium")
    if flips:
        with places[0]:
            about = "Mask bits that changed, those that κ kept, and those that the filter invented: means over clients."
            chart("Flips a client", run_charts.flips_by_round(run, at_round=round), "flips", about=about)
    with places[flips]:
        about = "Uplink of each round, beside the entropy of what it carried: no lossless code can stay below it."
        chart("Bits and bounds", run_charts.bits_by_round(run, at_round=round), "bits", about=about)
    if record["kept_by_layer"] and run.task:
        with places[-1]:
            about = "Share of each layer's weights that flipped in this round, a client, after κ."
            chart("Flips by layer", run_charts.flips_by_layer(run, round), "layers", about=about)


def _draw_clients(run: Run, round: int, record: dict[str, Any]) -> None:
    places = st.columns(3 if run.task else 2, gap="medium")
    with places[0]:
        about = "The server model's accuracy for the clients of each round, by their own mix of classes."
        chart("Spread over clients", client_charts.client_spread(run, at_round=round), "spread", about=about)
    with places[1]:
        about = "Accuracy for each client of this round, worst first."
        chart(
            "Accuracy by client",
            client_charts.client_accuracies(run, round, height=300),
            "client_accuracy",
            about=about,
        )
    if run.task:
        with places[2]:
            about = f"Training samples of each class that each client holds, α = {run.config.dirichlet_alpha:g}."
            counts = np.array(run.task["label_counts"])
            chart("Who holds what", client_charts.label_split(counts, run.task["classes"]), "run_split", about=about)
    fairness.draw(run, round, record)
    st.dataframe(record["clients"], hide_index=True, alt="The clients of this round")


def _sentence(record: dict[str, Any]) -> str:
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


def _draw_payloads(run: Run, round: int) -> None:
    try:
        payloads = run.payloads(round)
        shown = payloads[:MAX_PICTURES]
        drawn = pictures.to_scale([(f"client {payload.client}", pictures.draw(payload)) for payload in shown], 200)
        files = {payload.name: payload.read() for payload in shown}
    except StoreError as error:
        st.warning(style.markdown(str(error)))
        return
    if not payloads:
        st.info("No payload of this round was kept. Set *Keep payloads* to `few` or `all` to see the pictures.")
        return
    sources = [(run.id, str(payload.client)) for payload in shown]
    draw_film(drawn, [palette.color(run.config)] * len(drawn), sources)
    with st.container(horizontal=True, gap="small"):
        for name, data in files.items():
            download(name, data, name, "application/octet-stream")
    if len(payloads) > MAX_PICTURES:
        st.caption(f"{len(payloads) - MAX_PICTURES} more in the run's folder")


def draw_film(drawn: Sequence[Picture], colors: Sequence[str], sources: Sequence[tuple[str, str]]) -> None:
    """Pictures side by side at one scale: a pixel is a byte of the message, so area is what was sent.

    sources: (run, client) of each, by which the scrubber finds the same of other rounds.
    """
    frames = []
    for picture, color, (run, client) in zip(drawn, colors, sources, strict=True):
        how = "sent as this PNG" if picture.as_sent else "sent as bytes, drawn as pixels"
        if picture.thinned > 1:
            how += f", every {picture.thinned}th shown"
        name, data = style.html(picture.name), base64.b64encode(picture.png).decode()
        alt = f"Payload of {name}: {picture.sent:,} bytes"
        other = f'data-run="{style.html(run)}" data-client="{client}" data-scale="{picture.side / picture.width:.6g}"'
        frames.append(
            f'<figure style="--c:{color}"><img {other} width="{picture.side}" alt="{alt}" '
            f'src="data:image/png;base64,{data}"><figcaption>{name}<br><b>{picture.sent:,} bytes</b><br>'
            f'<span class="quiet">{picture.width} × {picture.height}, {how}</span></figcaption></figure>'
        )
    st.html(f'<div class="film">{"".join(frames)}</div>')
