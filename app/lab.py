"""The Lab: choose a run, start it, watch it."""

from __future__ import annotations

import controls
import numpy as np
import panels
import processes
import streamlit as st

from deltamask import charts, datasets
from deltamask.config import RunConfig
from deltamask.datasets import DatasetError
from deltamask.partition import dirichlet_split, label_counts
from deltamask.store import ACTIVE, Run, list_runs

SPLIT_FIELDS = ("dataset", "train_samples", "clients", "dirichlet_alpha", "min_client_samples", "seed")
RECORDED_FIRST = ("fashion-paper", "fashion", "fashion-gap", "fashion-unbiased", "fashion-fedpm", "fashion-probe")


@st.cache_data(show_spinner=False)
def labels_of(dataset: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """(training labels, class names)."""
    data = datasets.load(dataset)
    return data.train_y, data.classes


@st.cache_data(show_spinner=False, max_entries=64)
def split_preview(
    dataset: str, train_samples: int, clients: int, dirichlet_alpha: float, min_client_samples: int, seed: int
) -> np.ndarray:
    """(clients, classes) sample counts of the split a config would make."""
    labels, classes = labels_of(dataset)
    labels = labels[:train_samples]
    shards = dirichlet_split(labels, clients, dirichlet_alpha, min_client_samples, seed=seed)
    return label_counts(labels, shards, len(classes))


def draw_split() -> None:
    """Who would hold what with the settings as they stand: moves with the slider for α."""
    asked = {name: st.session_state[controls.key(name)] for name in SPLIT_FIELDS}
    try:
        counts = split_preview(**asked)
    except (DatasetError, ValueError) as error:
        st.warning(str(error))
        return
    classes = labels_of(asked["dataset"])[1]
    st.plotly_chart(charts.label_split(counts, classes, small=True), key="split", config={"displayModeBar": False})
    st.caption("Samples of each class (columns) that each client (rows) would hold")


def choose_runs(runs: dict[str, Run]) -> tuple[str | None, list[str]]:
    """(the run in focus, the runs it is compared with), both kept in the URL."""
    focus = st.query_params.get("run")
    if focus and focus not in runs and processes.log_tail(focus) == "" and st.session_state.get("started") != focus:
        st.warning(f"There is no run {focus!r} here. Showing a recorded one.")
        focus = None
    names = list(runs)
    if focus and focus not in runs:
        names.insert(0, focus)  # just started: its folder holds no config yet
    if not names:
        return None, []
    first = next((name for name in RECORDED_FIRST[1:] if name in runs), names[0])
    if st.session_state.get("focus") not in names:
        st.session_state.focus = focus or first
    if "compare" not in st.session_state:
        asked = st.query_params.get("compare")
        wanted = RECORDED_FIRST if asked is None else asked.split(",")
        st.session_state.compare = [name for name in wanted if name in runs]
    st.session_state.compare = [name for name in st.session_state.compare if name in runs]
    left, right = st.columns([2, 3])
    chosen = left.selectbox("Run in focus", names, key="focus", format_func=lambda name: _title(name, runs))
    others = right.multiselect(
        "Compared with",
        list(runs),
        key="compare",
        format_func=lambda name: _title(name, runs),
        placeholder="no other run",
    )
    st.query_params["run"] = chosen
    st.query_params["compare"] = ",".join(others)
    return chosen, [name for name in others if name != chosen]


def _title(name: str, runs: dict[str, Run]) -> str:
    return f"{charts.label(runs[name])} · {name}" if name in runs else f"{name} (starting)"


def press_run(config: RunConfig) -> None:
    """Start the run and put it into focus."""
    folder = processes.start(config)
    st.session_state.started = folder.name
    st.query_params["run"] = folder.name
    st.session_state.focus = folder.name
    st.session_state.pop("round", None)


notes = controls.start_form()
stored = list_runs()  # read once for the whole page
with st.sidebar:
    st.title("DeltaMask Explorer")
    button_place = st.container()
    config, faults = controls.draw_form({"Clients": draw_split})
with button_place:
    busy = [run for run in stored if run.state in ("starting", "running")]
    st.button(
        "Run", type="primary", icon=":material/play_arrow:", width="stretch", key="run_button",
        disabled=config is None, on_click=press_run, args=(config,),
        help="Starts `deltamask run` with these settings. It goes on when you close this tab.",
    )  # fmt: skip
    if busy:
        st.caption(f"{len(busy)} run{'s' if len(busy) > 1 else ''} under way: another shares the processor with it.")
    for fault in faults:
        st.error(fault)

st.markdown(
    "Federated fine-tuning of a frozen network, and **what crosses the wire** while it happens. "
    "Every figure comes from bytes that were really sent and decoded."
)
for note in notes:
    st.info(f"From the link: {note}", icon=":material/link:")
focus, others = choose_runs({run.id: run for run in stored})
if focus is None:
    st.info("No runs yet. Press **Run** in the sidebar.")
else:
    run = processes.read(focus)
    state = run.state if run else None
    active = state is None or state in ACTIVE
    st.fragment(panels.watch, run_every=1.0 if active else None)(focus, others, state)
