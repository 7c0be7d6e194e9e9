"""Who gains by joining: accuracy for each client with the server model and with its own. Reads records only."""

from __future__ import annotations

from typing import Any

import streamlit as st
from ui import links
from ui.figures import chart

from deltamask.plots import client_charts
from deltamask.runs import figures
from deltamask.runs.reader import Run

NAMES = {"sorted": "Worst first", "samples": "Samples", "unlikeness": "Unlikeness"}


def draw(run: Run, round: int, record: dict[str, Any]) -> None:
    """All N clients after a round, in two charts and in words."""
    if not record["client_accuracy"]:
        st.caption("An earlier revision recorded this run: it holds the accuracy of the sampled clients alone.")
        return
    alone = run.records[0]["alone"]
    st.markdown(sentence(record, alone))
    if alone is None:
        st.caption(
            "Who gains by joining is known of runs with *Compare with going alone* (`--compare-alone True`): each "
            "client then trains a model of its own as well, before round 1."
        )
    left, right = st.columns([3, 2], gap="medium")
    with left:
        against = _draw_choice()
        about = (
            "Every client's accuracy: of the server model, of the same when the client adds the logarithm of its own "
            "label shares to the logits, and of the model it trained alone. Test accuracy by class, weighted with the "
            "client's own label shares."
        )
        drawn = client_charts.joined_or_alone(run, round, against)
        chart("Joined or alone", drawn, "joined_or_alone", about=about)
    with right:
        about = "The server model's accuracy on the test images of each class."
        chart("Accuracy by class", client_charts.class_accuracies(run, round), "class_accuracy", about=about)


def sentence(record: dict[str, Any], alone: list[float] | None) -> str:
    """What the figures of all clients say, in words."""
    joined, adapted = record["client_accuracy"], record["client_accuracy_adapted"]
    plain = figures.fairness(joined, alone)
    text = (
        f"All {len(joined)} clients after round {record['round']}: accuracy {plain['worst_tenth']:.4f} for the worst "
        f"tenth and {plain['best_tenth']:.4f} for the best; Jain's index {plain['jain']:.4f}."
    )
    if alone is None:
        return text
    text += f" **{_worse(plain, joined)} of {len(joined)} clients are better off alone**"
    if adapted is None:
        return f"{text}. On average joining {_gain(plain)}."
    with_shares = figures.fairness(adapted, alone)
    text += f"; with their own label shares added, {_worse(with_shares, joined)} of {len(joined)}."
    return f"{text} On average joining {_gain(plain)}; with label shares added it {_gain(with_shares)}."


def _gain(found: dict[str, float]) -> str:
    points = 100 * found["gain_over_alone"]
    return f"{'gains' if points >= 0 else 'loses'} {abs(points):.1f} points"


def _worse(found: dict[str, float], clients: list[float]) -> int:
    return round(found["worse_than_alone"] * len(clients))


def _draw_choice() -> str:
    links.choice("against", list(NAMES), "sorted")
    against = st.segmented_control(
        "Clients by", list(NAMES), key="against", format_func=NAMES.__getitem__, required=True,
        help="Worst first; by how many training samples a client holds; or by how unlike the others it is: the total "
        "variation distance between its label shares and those of all samples together.",
    )  # fmt: skip
    links.write(against=None if against == "sorted" else against)
    return against or "sorted"
