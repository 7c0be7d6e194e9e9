"""The Lab: choose a run, start it, watch it."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st
from lab import controls, panels, sources
from ui import expected, exports, links, manage, processes, style

from deltamask import datasets
from deltamask.base.paths import recorded_dir, runs_dir
from deltamask.config import RunConfig
from deltamask.datasets import DatasetError, Groups, partitions
from deltamask.datasets.partitions import label_counts
from deltamask.runs import queue
from deltamask.runs.reader import Run, list_broken, list_runs, starred_first
from deltamask.runs.status import ACTIVE
from deltamask.studies.labels import config_label, label
from deltamask.studies.tasks import task_of

SPLIT_FIELDS = ("dataset", "train_samples", "clients", "partition", "seed")  # and what the partition reads
BROKEN_SHOWN = 20
RECORDED_FIRST = (
    "fashion", "fashion-recipe", "fashion-deepreduce", "fashion-fedpm", "fashion-probe", "fashion-finetune",
)  # fmt: skip

# Three sentences: who sends, what is learnt, how it is counted. Each word is explained where it first stands.
FIRST_WORDS = (
    '<p class="lead">Many <b>clients</b>, each with images that never leave it, train one network together: each '
    "round, some of them learn and send a short message. The network stays frozen; what is learnt is a <b>mask</b>, "
    "one bit for each of its d weights that keeps or drops it, and a client sends only the bits that changed, its "
    "<b>flips</b>. Cost is counted from bytes that were really sent and decoded, in <b>bits per parameter</b> (bpp): "
    'the bits of a message over d. <a href="learn" target="_self">New to this? Begin with Learn.</a></p>'
)


@st.cache_data(show_spinner=False)
def labels_of(dataset: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """(training labels, class names)."""
    return datasets.labels(dataset)


@st.cache_data(show_spinner=False)
def groups_of(dataset: str) -> Groups | None:
    """The dataset's own clients."""
    return datasets.load(dataset).groups


@st.cache_data(show_spinner=False, max_entries=64)
def split_preview(**fields: Any) -> np.ndarray:
    """(clients, classes) sample counts of the split that a config with these fields would make."""
    config = RunConfig.model_construct(**fields)
    labels, classes = labels_of(config.dataset)
    labels = labels[: config.train_samples]
    groups = groups_of(config.dataset) if partitions.get(config.partition).natural else None
    shards = partitions.split(config, labels, groups.pick(slice(len(labels))) if groups else None)
    return label_counts(labels, shards, len(classes))


def draw_split() -> None:
    """Who would hold what with the settings as they stand."""
    asked = {name: st.session_state[controls.key(name)] for name in SPLIT_FIELDS}
    asked |= {name: st.session_state[controls.key(name)] for name in partitions.get(asked["partition"]).reads}
    if sources.lacks_dataset(asked["dataset"]):
        st.caption("Which client would hold what is shown when the dataset is here.")
        return
    try:
        counts = split_preview(**asked)
    except (DatasetError, ValueError) as error:
        st.warning(str(error))
        return
    style.count_table(counts, labels_of(asked["dataset"])[1])
    st.caption("Samples of each class (columns) that each client (rows) would hold.")


@st.fragment
def draw_form() -> None:
    """The form, and what to expect of a run with it. Redrawn by itself, so that a control answers at once; the whole
    page, where the prediction is drawn as well, follows."""
    end, below = controls.draw_knobs({"backbone": sources.draw_backbone, "dataset": sources.draw_dataset})
    config, faults = controls.draw_more({"min_client_samples": draw_split})
    lacks = sources.lacking(config) if config else []
    with end:
        st.button(
            "Run", type="primary", icon=":material/play_arrow:", width="stretch", key="run_button",
            disabled=config is None or bool(lacks), on_click=_press,
            help="Starts `deltamask run` with these settings. It goes on when you close this tab. If another run is "
            "under way, it waits its turn.",
        )  # fmt: skip
        if lacks:
            st.caption(f":material/hourglass_top: Run waits for {' and '.join(lacks)}.")
    with below:
        if config is not None:
            expected.draw(config)
    for fault in faults:
        st.error(fault)
    if st.session_state.pop("run_pressed", False) and config is not None:
        press_run(config)
    expected.follow(config)


def _press() -> None:
    """Remembered until the form is drawn to its end: what runs is what it shows, even if a redraw was cut short."""
    st.session_state.run_pressed = True


def press_run(config: RunConfig) -> None:
    """Queue the run, and put it into focus."""
    folder = queue.submit(config)
    links.write(run=folder.name)
    st.session_state.focus_next = folder.name
    st.rerun()


def choose_runs(runs: dict[str, Run], waiting: list[queue.Waiting]) -> tuple[str | None, list[str]]:
    """(the run in focus, the runs it is compared with), both kept in the URL."""
    queued = {entry.id: entry for entry in waiting}
    names = [*(name for name in queued if name not in runs), *runs]
    asked = st.session_state.pop("focus_next", None) or st.session_state.pop("uploaded", None)
    asked = asked or st.session_state.get("focus") or st.query_params.get("run")
    if asked and asked not in names:
        if processes.is_starting(asked) or processes.log_tail(asked):
            names.insert(0, asked)  # just started: its folder holds no config yet
        else:
            links.note(f"there is no run {asked!r} here: showing a recorded one")
            asked = None
    if not names:
        return None, []
    first = next((name for name in RECORDED_FIRST if name in runs), names[0])
    st.session_state.focus = asked or first
    if "compare" not in st.session_state:
        wanted = links.names("compare", runs)
        st.session_state.compare = _like(st.session_state.focus, runs) if wanted is None else wanted
    st.session_state.compare = [name for name in st.session_state.compare if name in runs]

    def title(name: str) -> str:
        if name in queued:
            return f"{config_label(queued[name].config)} · {name} (waiting)"
        uploaded = " (uploaded)" if name in runs and runs[name].uploaded else ""
        star = "★ " if name in runs and runs[name].mark.star else ""
        return f"{star}{label(runs[name])} · {name}{uploaded}" if name in runs else f"{name} (starting)"

    left, right = st.columns([2, 3], gap="medium")
    chosen = left.selectbox("Run in focus", names, key="focus", format_func=title)
    if chosen in runs and (note := runs[chosen].mark.note):
        left.caption(f":material/sticky_note_2: {style.markdown(note)}")
    others = right.multiselect(
        "Compared with", list(runs), key="compare", format_func=lambda name: name, placeholder="no other run"
    )
    links.write(run=chosen, compare=links.joined(others))
    return chosen, [name for name in others if name != chosen]


def _like(focus: str, runs: dict[str, Run]) -> list[str]:
    """Recorded runs of the focus's task to compare it with: those that a first visit shows, or one of each method."""
    like = runs[focus].config if focus in runs else RunConfig()
    recorded = [run for run in runs.values() if run.path.parent == recorded_dir() and run.config.seed == like.seed]
    same = {run.id: run for run in recorded if task_of(run.config) == task_of(like)}
    if first := [name for name in RECORDED_FIRST if name in same]:
        return first
    methods = {run.config.method: run.id for run in same.values()}  # the last, so the oldest, of each
    return [*methods.values()]


def draw_queue(waiting: list[queue.Waiting]) -> None:
    """How many runs wait, for whoever looks at another run."""
    if waiting:
        names = ", ".join(style.markdown(entry.id) for entry in waiting[:3])
        st.caption(f":material/hourglass_top: {len(waiting)} waiting: {names}{' …' if len(waiting) > 3 else ''}")


def draw_broken() -> None:
    """The folders that are left out of the list, and why."""
    if broken := list_broken(runs_dir(), recorded_dir()):
        count = f"{len(broken)} folder{'s' if len(broken) > 1 else ''}"
        with st.expander(f"{count} among the runs cannot be read", icon=":material/folder_off:"):
            for each in broken[:BROKEN_SHOWN]:
                st.caption(f"**{style.markdown(each.name)}**: {style.markdown(each.reason[:500])}")
            if len(broken) > BROKEN_SHOWN:
                st.caption(f"… and {len(broken) - BROKEN_SHOWN} more: `deltamask runs` names them all.")


controls.start_form()
queue.keep_starting()
waiting = queue.waiting()
st.title("What does a client send, and what does it buy?")
st.html(FIRST_WORDS)
expected.start()
draw_form()
draw_queue(waiting)
manage.draw_undo()
runs = {run.id: run for run in starred_first(list_runs(runs_dir(), recorded_dir()))}
focus, others = choose_runs(runs, waiting)
if focus is None:
    links.draw_notes()
    st.info("No runs yet. Press **Run**.")
else:
    run = processes.read(focus)
    state = "waiting" if any(entry.id == focus for entry in waiting) else run.state if run else None
    polled = state in (None, "waiting", *ACTIVE)
    beat = 1.0 if polled else None
    st.fragment(panels.watch, run_every=beat)(focus, others, state)
st.header("A run from elsewhere")
exports.draw_upload()
draw_broken()
expected.learn_new(runs.values())
