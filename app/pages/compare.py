"""Compare: any set of runs side by side, over one round slider."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import pandas as pd
import streamlit as st
from ui import attacks, curves, exports, links, processes, rounds, scrubber, style
from ui.figures import chart

from deltamask.base.paths import recorded_dir, results_dir, runs_dir
from deltamask.methods import methods as registered
from deltamask.plots import palette, pictures, report, run_charts
from deltamask.runs import StoreError
from deltamask.runs.reader import Run, list_runs
from deltamask.runs.status import ACTIVE
from deltamask.studies.attacks import TITLE as LIARS
from deltamask.studies.comparison import VIEWS, Group, finding, group_by_seed, prepared

MOST = 60  # runs on one page: every recorded method with its seeds, which are drawn as bands
MARKS = {"finished": "✓", "failed": "✕ failed", "killed": "✕ killed"}


def choose(runs: dict[str, Run]) -> list[str]:
    """The runs to compare: a prepared view of the recorded ones, or any set."""
    recorded = [run for run in runs.values() if run.path.parent == recorded_dir()]
    if "compared" not in st.session_state:
        asked = links.names("runs", runs)
        if asked is not None and len(asked) > MOST:
            links.note(f"runs: {len(asked)} are more than the {MOST} that one page shows")
        first = [run.id for run in prepared(next(iter(VIEWS)), recorded)]
        st.session_state.compared = (asked or first)[:MOST]
        st.session_state.view = None if asked else next(iter(VIEWS))
        if st.query_params.get("view") == LIARS:
            st.session_state.view, st.session_state.compared = LIARS, []

    def take_view() -> None:
        if st.session_state.view:
            chosen = prepared(st.session_state.view, recorded) if st.session_state.view in VIEWS else []
            st.session_state.compared = [run.id for run in chosen][:MOST]

    def own_choice() -> None:
        st.session_state.view = None

    st.session_state.compared = [name for name in st.session_state.compared if name in runs]
    st.segmented_control(
        "Prepared views of the recorded runs", [*VIEWS, LIARS], key="view", on_change=take_view,
        help="Recorded runs that ship with the repository, each view on one task; the last one is a study's tables.",
    )  # fmt: skip
    return list(
        st.multiselect(
            "Runs",
            list(runs),
            key="compared",
            max_selections=MOST,
            on_change=own_choice,
            placeholder="choose runs",
            help="Runs that differ in nothing but their seed become one curve with a band.",
        )
    )


def watch(names: list[str]) -> None:
    """The comparison. Redrawn by itself while it plays, or while one of its runs is under way."""
    runs = [run for name in names if (run := processes.read(name))]
    notes = st.container()
    drawn = [run for run in runs if run.records]
    _draw_missing(runs, drawn)
    if not drawn:
        with notes:
            links.draw_notes()
        st.info("Choose runs above, or a prepared view.")
        return
    groups = group_by_seed(drawn)
    if sentence := finding(groups):
        st.markdown(style.markdown(sentence))
    last = max(int(run.records[-1]["round"]) for run in drawn)
    left, right = st.columns([7, 1], vertical_alignment="bottom")
    with left:
        growing = any(run.state in ACTIVE for run in drawn)
        round = scrubber.draw(",".join(names), last, last if growing else _middle(tuple(names), last))
    with right:
        exports.draw_comparison_exports(drawn, round)
    way, per = curves.draw(groups, round, numbered=True)
    _draw_pictures(groups, round)
    left, right = st.columns(2, gap="medium")
    with left:
        about = "Mean of the last ten rounds. No run on the line is beaten by another in both accuracy and bits."
        figure = run_charts.pareto(groups, way=way, per=per)
        chart("Pareto front: accuracy for bits", figure, "pareto", about=about, legend=False)
    with right:
        _draw_round_table(groups, round)
    _draw_table(drawn)
    with notes:
        links.draw_notes()


@st.cache_data(show_spinner=False, max_entries=64)
def _middle(names: tuple[str, ...], last: int) -> int:
    """The round nearest to the middle of which the most of these runs have kept a payload."""
    kept: Counter[int] = Counter()
    for name in names:
        with suppress(StoreError):  # it is shown where the pictures are drawn
            run = processes.read(name)
            kept.update({payload.round for payload in run.payloads()} if run else ())
    return min(range(last + 1), key=lambda at: (-kept[at], abs(at - last // 2)))


def _draw_missing(runs: Sequence[Run], drawn: Sequence[Run]) -> None:
    """Say which methods of the view nobody has recorded, and which runs have nothing to show."""
    view = st.session_state.get("view")
    methods = {run.config.method for run in drawn}
    missing = [registered[method].label for method in VIEWS[view].methods if method not in methods] if view else []
    if missing:
        st.caption(f"No recorded run of {', '.join(missing)} on this task.")
    silent = [style.markdown(run.id) for run in runs if not run.records]
    if silent:
        st.caption(f"Without a finished round yet: {', '.join(silent)}.")


def _draw_pictures(groups: Sequence[Group], round: int) -> None:
    """One client's message of each group, all at one scale."""
    st.subheader(f"Round {round}: what one client sends")
    named, colors, lacking = [], [], []
    for group, name in zip(groups, run_charts.numbered_names(groups), strict=True):
        try:
            picture = pictures.first_message(group.runs[0], round)
        except StoreError as error:
            st.warning(style.markdown(str(error)))
            continue
        if picture:
            named.append((name, picture))
            colors.append(palette.color(group.config))
        else:
            lacking.append(name)
    if not named:
        st.info("No payload of this round was kept by any of these runs.")
        return
    st.caption("A pixel is a byte of the message, and all are drawn at one scale: what takes more room cost more bits.")
    rounds.draw_film(pictures.to_scale(named), colors)
    if lacking:
        st.caption(f"No payload of this round was kept by {', '.join(map(style.markdown, lacking))}.")


def _draw_round_table(groups: Sequence[Group], round: int) -> None:
    """Where each group stands in this round."""
    st.markdown(f"**At round {round}**")
    rows = []
    for group, name in zip(groups, run_charts.numbered_names(groups), strict=True):
        at = group.rounds[group.rounds["round"] == round] if len(group.rounds) else group.rounds
        if len(at):
            row = at.iloc[0]
            rows.append(
                {"run": name, "accuracy": row["accuracy"], "bpp up": row["bpp_up"], "up in all": row["bpp_up_total"],
                 "down in all": row["bpp_down_total"]}
            )  # fmt: skip
    formats = {
        "accuracy": st.column_config.NumberColumn(format="%.4f"),
        **{name: st.column_config.NumberColumn(format="%.3g") for name in ("bpp up", "up in all", "down in all")},
    }
    st.dataframe(rows, hide_index=True, column_config=formats, alt=f"Where each run stands in round {round}")


def _draw_table(runs: Sequence[Run]) -> None:
    """Headline figures, and only those settings that are not the same for all."""
    st.subheader("Where the runs differ, and what came of it")
    rows = pd.DataFrame(report.comparison_rows(runs))
    rows["state"] = [MARKS.get(state, f"… {state}") for state in rows["state"]]
    fine = {
        name: st.column_config.NumberColumn(format="%.4f") for name in rows.columns if "acc" in name or "worst" in name
    }
    bits = {name: st.column_config.NumberColumn(format="%.3f") for name in rows.columns if name.startswith("bpp")}
    plain = {name: st.column_config.NumberColumn(format="%g") for name in rows.select_dtypes("float").columns}
    st.dataframe(
        rows, hide_index=True, column_config={**plain, **fine, **bits}, alt="Runs, their settings and their figures"
    )


st.html(
    '<p class="lead">What does accuracy <b>cost in bits</b>? Press <b>Play</b> and watch the runs learn, with the very '
    "messages that one client of each sends.</p>"
)
stored = {run.id: run for run in list_runs(runs_dir(), recorded_dir())}
names = choose(stored)
lying = st.session_state.view == LIARS
links.write(view=LIARS if lying else None)
if lying:
    links.write(runs=None)
    attacks.draw(results_dir())
    st.stop()
links.write(runs=",".join(names))
active = any(stored[name].state in ACTIVE for name in names)
beat = scrubber.TICK if scrubber.is_playing() else 1.0 if active else None
st.fragment(watch, run_every=beat)(names)
