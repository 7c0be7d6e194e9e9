"""Compare: any set of runs side by side, over one round slider."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

import pandas as pd
import streamlit as st
from messages import FIRST
from ui import attacks, curves, exports, links, processes, rounds, scrubber, style
from ui import budget as budgets
from ui.figures import chart

from deltamask.base.paths import recorded_dir, results_dir, runs_dir
from deltamask.config import RunConfig
from deltamask.methods import methods as registered
from deltamask.plots import palette, pictures, report, run_charts
from deltamask.runs import StoreError
from deltamask.runs.reader import Run, list_runs
from deltamask.runs.status import ACTIVE
from deltamask.studies import views
from deltamask.studies.attacks import TITLE as LIARS
from deltamask.studies.comparison import NOT_A_SETTING, Group, differing, group_by_seed, of_one_task
from deltamask.studies.find import FindError, find
from deltamask.studies.measured import MeasuredRun, measured_runs
from deltamask.studies.tasks import Task, task_differences, task_of, task_words, unlike_seeds

MOST = 60  # runs on one page: every recorded method with its seeds, which are drawn as bands
MARKS = {"finished": "✓", "failed": "✕ failed", "killed": "✕ killed"}


def choose(runs: dict[str, Run]) -> list[str]:
    """The runs to compare: a prepared view of what has been measured, or any set."""
    ours = [run for run in runs.values() if run.path.parent == recorded_dir() or isinstance(run, MeasuredRun)]
    offered = [*views.ordered(), LIARS]  # the last one is a study's tables, and has no curves

    def take_view() -> None:
        if st.session_state.view:
            chosen = [] if st.session_state.view == LIARS else views.prepared(st.session_state.view, ours)
            st.session_state.compared = [run.id for run in chosen][:MOST]

    def own_choice() -> None:
        st.session_state.view = None

    if "compared" not in st.session_state:
        asked = links.names("runs", runs)
        if asked is not None and len(asked) > MOST:
            links.note(f"runs: {len(asked)} are more than the {MOST} that one page shows")
        if asked is None:
            links.choice("view", offered, offered[0])
            take_view()
        else:
            st.session_state.compared, st.session_state.view = asked[:MOST], None
    st.session_state.compared = [name for name in st.session_state.compared if name in runs]
    view = st.pills(
        "Prepared views of what has been measured", offered, key="view", on_change=take_view,
        format_func=lambda name: name if name == LIARS else views.get(name).title,
        help="Runs that ship with the repository, each view on one task: recorded ones, with their messages, and those "
        "of the studies' tables, of which the figures of each round are kept.",
    )  # fmt: skip
    if view == LIARS:
        links.write(view=view, runs=None)
        return []
    with st.expander(f"Runs in view: {len(st.session_state.compared)}", expanded=not view):
        left, right = st.columns([3, 1], gap="medium")
        with left:
            _draw_find(runs, own_choice)
        with right:
            _draw_split([runs[name].config for name in st.session_state.compared])
        chosen = st.multiselect(
            "Runs", list(runs), key="compared", max_selections=MOST, on_change=own_choice, placeholder="choose runs",
            help="Runs that differ in nothing but their seed become one curve with a band.",
        )  # fmt: skip
    links.write(view=view, runs=None if view else links.joined(chosen))
    return list(chosen)


def _draw_find(runs: dict[str, Run], own_choice: Callable[[], None]) -> None:
    """Runs by words, to be put into view."""
    asked = st.text_input(
        "Find", key="find", placeholder="method=fedpm kappa<0.5 accuracy>=0.88 #draft",
        help="Every word must hold: a setting or a figure compared (=, !=, <, <=, >, >=), a #word of the run's note, "
        "\\* for a star, or any word of its name, label or note.",
    )  # fmt: skip
    if not asked.strip():
        return
    try:
        found = [run.id for run in find(runs.values(), asked)]
    except FindError as error:
        st.error(style.markdown(str(error)))
        return

    def show(names: list[str]) -> None:
        st.session_state.compared = names[:MOST]
        own_choice()

    with st.container(horizontal=True, vertical_alignment="center"):
        most = f", of which the first {MOST} fit" if len(found) > MOST else ""
        st.caption(f"{len(found)} of {len(runs)} runs{most}.", width="content")
        here = st.session_state.compared
        st.button("Show these", key="show_found", on_click=show, args=(found,), disabled=not found, type="tertiary")
        st.button(
            "Add them", key="add_found", on_click=show, args=([*here, *(name for name in found if name not in here)],),
            disabled=not set(found) - set(here), type="tertiary",
        )  # fmt: skip


def watch(names: list[str]) -> None:
    """The comparison. Redrawn by itself while one of its runs is under way."""
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
    view = views.get(st.session_state.view) if st.session_state.get("view") else None
    sentence = (view.finds if view else views.best_of)(groups, run_charts.numbered_names(groups))
    if sentence:
        asked = f"**{style.markdown(view.asks)}** " if view else ""
        st.markdown(asked + style.markdown(sentence))
    last = max(int(run.records[-1]["round"]) for run in drawn)
    _draw_other_tasks(groups)
    left, middle, right = st.columns([5, 6, 1.6], gap="medium", vertical_alignment="bottom")
    with left:
        growing = any(run.state in ACTIVE for run in drawn)
        round = scrubber.draw(",".join(names), last, last if growing else _middle(tuple(names), last))
    with middle:
        way, per = curves.draw_measure()
    with right:
        exports.draw_comparison_exports(drawn, round)
    if st.session_state.get("apart") and len(tasks := _by_task(groups)) > 1:
        _draw_apart(tasks, round, way, per)
    elif field := st.session_state.get("split_by"):
        _draw_apart(_by_field(groups, field), round, way, per)
    else:
        curves.draw(groups, round, way, per)
    _draw_pictures(groups, round)
    left, right = st.columns(2, gap="medium")
    with left:
        about = (
            "Mean of the last ten rounds. No run on the line is beaten by another in both accuracy and bits. "
            "Only runs of one task are drawn."
        )
        budget = budgets.draw(groups, way, per)
        figure = run_charts.pareto(groups, way=way, per=per, budget=budget)
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
    wanted = views.get(view).methods if view else ()
    methods = {run.config.method for run in drawn}
    missing = [registered[method].label for method in wanted if method not in methods]
    if missing:
        st.caption(f"No recorded run of {', '.join(missing)} on this task.")
    silent = [style.markdown(run.id) for run in runs if not run.records]
    if silent:
        st.caption(f"Without a finished round yet: {', '.join(silent)}.")


def _by_task(groups: Sequence[Group]) -> list[tuple[str, list[Group]]]:
    """Groups of one task together, the most first: (what the task is, its groups)."""
    tasks: dict[Task, list[Group]] = {}
    for group in groups:
        tasks.setdefault(task_of(group.config), []).append(group)
    return [(task_words(members[0].config), members) for members in sorted(tasks.values(), key=len, reverse=True)]


def _draw_split(configs: Sequence[RunConfig]) -> None:
    """Choose a setting that gets a pair of charts for each of its values: one of those that differ."""
    fields = [name for name in differing(configs) if name not in NOT_A_SETTING]
    if st.session_state.setdefault("split_by", st.query_params.get("split")) not in fields:
        st.session_state.split_by = None
    chosen = st.selectbox(
        "A chart for each value of", fields, key="split_by", placeholder="all runs in one chart",
        format_func=lambda name: RunConfig.setting(name).label, disabled=not fields,
        help="Small multiples, by any setting in which the runs in view differ.",
    )  # fmt: skip
    links.write(split=chosen)


def _by_field(groups: Sequence[Group], field: str) -> list[tuple[str, list[Group]]]:
    """Groups of one value together, in the order of the values: (setting and value, its groups)."""
    values = sorted({getattr(group.config, field) for group in groups})
    named = RunConfig.setting(field).label
    return [
        (f"{named}: {value}", [group for group in groups if getattr(group.config, field) == value]) for value in values
    ]


def _draw_apart(parts: Sequence[tuple[str, list[Group]]], round: int, way: str, per: str) -> None:
    """Small multiples: a pair of charts for each part."""
    for words, members in parts:
        st.markdown(f"**{style.markdown(words)}**")
        curves.draw(members, round, way, per, name=words)


def _draw_other_tasks(groups: Sequence[Group]) -> None:
    """Say that not all is alike, and offer each task a chart of its own."""
    same = of_one_task(groups)
    if len(same) < len(groups):
        names = run_charts.numbered_names(groups)
        others = [style.markdown(name) for group, name in zip(groups, names, strict=True) if group not in same]
        fields = dict.fromkeys(
            field for group in groups for field in task_differences(group.config, same[0].config)
        )  # fmt: skip
        labels = ", ".join(RunConfig.setting(field).label for field in fields)
        text, button = st.columns([5, 1.4], vertical_alignment="center")
        text.warning(
            f"Not one task: {', '.join(others)} differ{'s' if len(others) == 1 else ''} from the others in {labels}. "
            "Grey and dashed, and left out of sentence and front: accuracies of two tasks cannot be ranked.",
            icon=":material/difference:",
        )  # fmt: skip
        button.toggle("A chart for each task", key="apart")
    if unlike_seeds([frozenset(run.config.seed for run in group.runs) for group in same]):
        st.caption("Not all lines rest on the same seeds, so not on the same splits: small differences say little.")


def _draw_pictures(groups: Sequence[Group], round: int) -> None:
    """One client's message of each group, all at one scale."""
    st.header(f"Round {round}: what one client sends")
    named, colors, sources, lacking = [], [], [], []
    looks = palette.styles([group.config for group in groups])
    for group, name, (color, *_) in zip(groups, run_charts.numbered_names(groups), looks, strict=True):
        try:
            picture = pictures.first_message(group.runs[0], round)
        except StoreError as error:
            st.warning(style.markdown(str(error)))
            continue
        if picture:
            named.append((name, picture))
            colors.append(color)
            sources.append((group.runs[0].id, FIRST))
        else:
            lacking.append(name)
    if not named:
        st.info("No payload of this round was kept by any of these runs.")
        return
    st.caption("A pixel is a byte of the message, and all are drawn at one scale: what takes more room cost more bits.")
    rounds.draw_film(pictures.to_scale(named), colors, sources)
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
    st.header("Where the runs differ, and what came of it")
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


st.title("What does accuracy cost in bits?")
st.html(
    '<p class="lead">Choose a view, press <b>Play</b> and watch the runs learn, with the very '
    "messages that one client of each sends.</p>"
)
stored = {run.id: run for run in list_runs(runs_dir(), recorded_dir())}
with suppress(StoreError):  # damaged tables: the view that is made of them says so
    stored |= {run.id: run for run in measured_runs()}
names = choose(stored)
if st.session_state.view == LIARS:
    attacks.draw(results_dir())
    st.stop()
active = any(stored[name].state in ACTIVE for name in names)
beat = 1.0 if active else None
st.fragment(watch, run_every=beat)(names)
