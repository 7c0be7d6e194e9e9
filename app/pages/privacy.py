"""The Privacy page: what messages give away, what a promise costs, and what is promised to nobody."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st
from ui import links, style
from ui.figures import chart

from deltamask.base.paths import results_dir
from deltamask.config.privacy_fields import Privacy
from deltamask.plots import privacy_charts
from deltamask.privacy import crowd
from deltamask.runs import StoreError
from deltamask.studies import leaks, private_runs
from deltamask.studies.intervals import figure

MEASURE = "python benchmarks/leaks.py --write"
NOT_HERE = "Not measured here yet"
FLIPS = [100, 300, 1_000, 3_000, 10_000, 30_000]
EPSILONS = [1.0, 2.0, 4.0, 8.0]
ROUNDS = [1, 10, 40, 100]
DELTA = 1e-5


@st.cache_data(show_spinner=False, max_entries=4)
def _leaks(data: Path, modified: tuple[float, ...]) -> dict[str, pd.DataFrame]:
    """modified: when the tables were written, so that new ones are read."""
    return leaks.read(data)


@st.cache_data(show_spinner=False, max_entries=4)
def _runs(data: Path, modified: tuple[float, ...], dp: Privacy = "samples") -> list[private_runs.Line]:
    return private_runs.stored(data, dp)


@st.cache_data(show_spinner=False, max_entries=64)
def _sigma(epsilon: float, rounds: int) -> float:
    return crowd.sigma_for(epsilon, DELTA, rounds)


def _written(data: Path, pattern: str) -> tuple[float, ...]:
    return tuple(path.stat().st_mtime for path in sorted(data.glob(pattern)))


def _way(sent: str) -> str:
    """A way of sending, without a document's marks."""
    return leaks.WAYS[sent].replace("`", "")


def draw_leaks(tables: dict[str, pd.DataFrame]) -> None:
    """One client's labels, guessed and true, and the figures of all."""
    st.header("What the server learns from messages alone")
    if not {"clients", "links", "shares"} <= tables.keys():
        st.info(f"{NOT_HERE}: `{MEASURE}`.")
        return
    ways = [way for way in leaks.WAYS if way in set(tables["shares"]["sent"])]
    st.markdown(
        "u is public, and a filter is read by asking it for every position. So the server decodes a client's first "
        "message, trains on images of its own, one class at a time, and asks which mixture of classes explains the "
        "message best."
    )
    links.choice("sent", ways, ways[0])
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    way = left.selectbox("Sent by", ways, key="sent", format_func=_way)
    own = tables["shares"][tables["shares"]["sent"] == way]
    client = int(right.selectbox("Client", sorted(own["client"].unique().tolist()), key="privacy_client"))
    links.write(sent=way)
    one = own[own["client"] == client]
    at = tables["clients"]
    same = at[(at["sent"] == way) & (at["alpha"] == leaks.SHOWN_ALPHA)]
    guess, prior, images = (figure(same[name]) for name in ("tv", "tv_prior", "auc"))
    linked = tables["links"]
    pairs = linked[(linked["sent"] == way) & (linked["alpha"] == leaks.SHOWN_ALPHA) & (linked["control"] == "")]
    st.markdown(
        f"**At α {leaks.SHOWN_ALPHA:g}**, {guess.of} clients: guesses are {guess.text()} from the true shares (0: "
        f"right, 1: all wrong), and {prior.text()} for who knows only the shares of all clients together. Two messages "
        f"of one client are told from two of different clients with AUC {figure(pairs['auc']).text()} (seeds: "
        f"{len(pairs)}); a client's images from others of the same class with AUC {images.text()} (0.5: not at all). "
        "± are 95 % intervals over clients, for AUC of messages over seeds."
    )
    about = "Shares of each class among one client's samples: true, and guessed by the server from its first message."
    chart("One client's labels", privacy_charts.guessed_shares(one), "guessed_shares", about=about)
    rows = [
        {"sent by": _way(str(sent)), "α": alpha, "clients": len(part)}
        | {name: float(part[column].mean()) for name, column in _COLUMNS.items()}
        for (sent, alpha), part in at.groupby(["sent", "alpha"], sort=False)
    ]
    fine = {name: st.column_config.NumberColumn(format="%.3f") for name in _COLUMNS}
    st.dataframe(rows, hide_index=True, column_config=fine, alt="What was guessed from messages, beside the controls")
    st.caption("Means over clients. How each was measured, with intervals and controls: docs/privacy.md.")


_COLUMNS = {
    "labels: distance": "tv", "of the prior": "tv_prior", "of the control": "tv_control", "images: AUC": "auc",
    "its control": "auc_control",
}  # fmt: skip


def draw_costs(lines: list[private_runs.Line]) -> None:
    """Accuracy against ε, for each α a chart."""
    st.header("What a promise costs")
    st.markdown(
        "With (ε, δ)-differential privacy for each training sample, whatever a client sends comes out about as "
        "likely without any one of its samples. What is made of the noisy steps afterwards, masks, filters, "
        "pictures, spends nothing more."
    )
    if not lines:
        st.info(f"{NOT_HERE}: no run with a promise is among the studies' tables.")
        return
    alphas = list(dict.fromkeys(line.config.dirichlet_alpha for line in lines))
    for column, alpha in zip(st.columns(len(alphas), gap="medium"), alphas, strict=True):
        with column:
            own = [line for line in lines if line.config.dirichlet_alpha == alpha]
            about = f"Accuracy of each method for each ε, Dirichlet α {alpha:g}, with 95 % intervals over seeds."
            chart(f"α {alpha:g}", privacy_charts.cost_of_a_promise(own), f"promise_{alpha:g}", about=about)
    rows = [
        {"method": line.label, "α": line.config.dirichlet_alpha,
         "ε": line.promise,
         "accuracy": line.accuracy.mean, "±": line.accuracy.width, "MB a client": line.megabytes.mean,
         "seeds": line.accuracy.of}
        for line in lines
    ]  # fmt: skip
    fine = {name: st.column_config.NumberColumn(format="%.4f") for name in ("accuracy", "±")}
    fine["MB a client"] = st.column_config.NumberColumn(format="%.3g")
    st.dataframe(rows, hide_index=True, column_config=fine, alt="Accuracy and bytes for each method and ε")


def draw_audit(tables: dict[str, pd.DataFrame]) -> None:
    """What attacks prove, below what is proven."""
    st.header("Is the promise kept?")
    if "audit" not in tables:
        st.info(f"{NOT_HERE}: `{MEASURE}`.")
        return
    table = tables["audit"]
    kept, halved = table[table["noise"] == 1], table[table["noise"] != 1]
    st.markdown(
        "A proof can be right and the code wrong. So the private head's release is attacked with canaries, samples "
        "that are in or out by a coin, and right guesses bound ε from below, with 95 % confidence each."
    )
    left, middle, right = st.columns(3)
    left.metric("Proven: at most ε", f"{kept['proven'].iloc[0]:g}")
    middle.metric(f"Attacks prove: at least, highest of {len(kept)}", f"{kept['bound'].max():.2f}")
    if len(halved):
        right.metric(f"With half the noise, lowest of {len(halved)}", f"{halved['bound'].min():.2f}")


def draw_limits() -> None:
    """The plain box."""
    st.header("What is not promised")
    st.warning(
        "**No secure aggregation.** The server sees each client's payload by itself.  \n"
        "**An honest-but-curious server** is assumed: one that keeps to the protocol and reads what it is sent. "
        "Noise follows from the run's seed, so a server that knows the seed can take it off: promises are for "
        "simulations, and refused over Flower.  \n"
        "**The head has no protection without a DP head.** Statistics of features, and each class's number of "
        "samples, go out as they are.  \n"
        "**A client is not hidden by a promise for its samples:** its labels may show as a whole, how many samples "
        "it has is public, and so is when it takes part.  \n"
        "**A promise for clients hides nothing from the server,** which sees each message before it adds noise to "
        "their sum: it is for those who see what the server makes public.",
        icon=":material/shield:",
    )


def draw_crowd(lines: list[private_runs.Line]) -> None:
    """What a promise for whole clients costs, and how many of them it would take."""
    st.header("A promise for whole clients")
    st.markdown(
        "With `dp = clients`, what the server makes public comes out about as likely with any one client's data "
        "replaced by other data: a client sends at most B flips, so that the sum of all moves by at most √(2B) in "
        "length, and the server adds noise of σ·√(2B) to every position. That takes many clients."
    )
    if lines:
        about = "Accuracy for each number of clients, with a promise for each whole client and without."
        chart(
            "The same images, more and more clients", privacy_charts.cost_of_a_crowd(lines), "crowd_cost", about=about
        )
    else:
        st.info(f"{NOT_HERE}: no run with `dp = clients` is among the studies' tables.")
    st.subheader("How many it takes: arithmetic")
    st.markdown(
        "Computed, not measured. Where a share of N clients flips the same position, the sum says that share of N."
    )
    left, middle, right = st.columns(3)
    flips = int(left.select_slider("B, flips a client sends at most", FLIPS, 1_000, key="crowd_flips"))
    epsilon = float(middle.select_slider("ε for each client", EPSILONS, 8.0, key="crowd_epsilon"))
    rounds = int(right.select_slider("Rounds", ROUNDS, 40, key="crowd_rounds"))
    sigma = _sigma(epsilon, rounds)
    needed = ", ".join(
        f"**{crowd.clients_needed(flips, sigma, share):,}** where {share:.0%} agree"
        for share, _ in privacy_charts.AGREEMENTS
    )
    st.markdown(
        f"σ {sigma:.2f}, noise {crowd.noise_of_sum(flips, sigma):,.0f} on each position (δ 10⁻⁵). Clients from which "
        f"on the signal is no smaller: {needed}."
    )
    about = "Signal of N clients on a position of the sum, for three shares that agree, and the noise; all arithmetic."
    chart("Signal and noise", privacy_charts.signal_and_noise(flips, sigma), "crowd", about=about)


st.title("What do the messages give away?")
st.html(
    '<p class="lead">A mask is not a secret. First what an attacker reads from messages, then what hides a training '
    "sample, and at what price.</p>"
)
data = results_dir()
try:
    found = _leaks(data, _written(data, "leaks-*.csv"))
    measured, crowds = (_runs(data, _written(data, "r*s.*"), dp) for dp in ("samples", "clients"))
except StoreError as error:
    st.warning(style.markdown(str(error)))
    st.stop()
draw_leaks(found)
draw_costs(measured)
draw_audit(found)
draw_limits()
draw_crowd(crowds)
links.draw_notes()
