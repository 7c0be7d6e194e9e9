"""The panels of one run: state and buttons, figures, curves, the round. Reads run folders only."""

from __future__ import annotations

import streamlit as st
from lab import controls
from ui import curves, expected, exports, links, manage, processes, progress, rounds, scrubber, squares, style

from deltamask.base.units import byte_size
from deltamask.runs import queue
from deltamask.runs.figures import LAST
from deltamask.runs.folder import RunFolder
from deltamask.runs.reader import Run
from deltamask.runs.status import ACTIVE
from deltamask.studies.comparison import Group


def watch(run_id: str, others: list[str], state_before: str | None) -> None:
    """Everything that follows the run. Redrawn once a second while it is under way."""
    queue.reap()
    notes = st.container()
    entry = next((entry for entry in queue.waiting() if entry.id == run_id), None)
    run = processes.read(run_id)
    state = "waiting" if entry else run.state if run else None
    if state_before != state and not (state_before in ACTIVE and state in ACTIVE):
        st.rerun()  # the run has begun or ended: the whole page must know
    if entry is not None:
        _draw_waiting(entry)
    if run is None:
        if entry is None:
            _draw_start(run_id)
        return
    quiet = run.state == "finished" and not run.changes  # then curves come first
    if entry is None and not quiet:
        _draw_state(run)
    if not run.records:
        return
    last = int(run.records[-1]["round"])
    left, right = st.columns([5, 6], gap="medium", vertical_alignment="bottom")
    with left:
        round = scrubber.draw(run.id, last, last if run.state in ACTIVE else last // 2)
    with right:
        way, per = curves.draw_measure()
    compared = [other for name in others if (other := processes.read(name))]
    groups = [Group((each,)) for each in (run, *compared)]
    forecast = expected.of_form()
    left, right = st.columns([10, 33], gap="medium")
    with left:
        squares.draw(groups, round, run, forecast)
    with right:
        curves.draw(groups, round, way, per, focus=run, expected=forecast)
    st.header("The run in focus", divider=False)
    if entry is None and quiet:
        _draw_state(run)
    _draw_figures(run)
    expected.draw_hindsight(run)
    rounds.draw(run, round)
    with notes:
        links.draw_notes()


def _draw_waiting(entry: queue.Waiting) -> None:
    """Whom the run waits for, and the ways out."""
    ahead = [other for other in queue.waiting() if other.file < entry.file]
    busy = queue.active()
    paused = [name for name in busy if (other := processes.read(name)) and other.state == "paused"]
    text = f"Waiting: one run goes at a time, and {len(busy) + len(ahead)} come first."
    if paused:
        text += f" {style.markdown(paused[0])} is paused and keeps its place: go on with it, or stop it."
    place, *buttons = st.columns([3, 1, 1], vertical_alignment="center")
    place.info(text, icon=":material/hourglass_top:")
    # A press acts in a callback: the page redraws itself every second, and a redraw may cut short the one that the
    # press has caused, but never its callback.
    buttons[0].button(
        "Start now", key="start_now", width="stretch", on_click=queue.start_now, args=(entry,),
        help="Beside what runs: both take longer.",
    )  # fmt: skip
    buttons[1].button(
        "Remove", key="give_up", width="stretch", on_click=_give_up, args=(entry,), help="Takes the run off the list."
    )


def _give_up(entry: queue.Waiting) -> None:
    queue.remove(entry)
    if not entry.resume:
        links.write(run=None)
        st.session_state.pop("focus", None)


def _draw_start(run_id: str) -> None:
    """Between the press of Run and the first sign of the process."""
    if processes.is_starting(run_id):
        st.progress(0.0, text="Starting: loading the libraries")
    else:
        st.error("The run did not start:")
        st.code(processes.log_tail(run_id), language=None)


def _draw_state(run: Run) -> None:
    """State, progress with time left, and the buttons that make sense in this state."""
    # From the top: a button that goes stays in its column until the redraw ends, and must not push the others about.
    text, *buttons, share, own = st.columns([4, 1.1, 1.1, 1.1, 1.1, 1.1], vertical_alignment="top")
    status, state = run.status, run.state
    with text:
        if state in ACTIVE:
            st.progress(*progress.of(run))
        elif state == "failed":
            st.error(f"Failed: {style.markdown(str(status.get('message'))[:2000])}")
        elif state == "killed":
            st.warning("The process is gone: killed, or the machine went down. Resume goes on from the last round.")
        elif state == "stopped" and status:
            st.info(f"Stopped {progress.after(len(run.records) - 1)} of {run.config.rounds}.")
        else:
            st.caption(f"Finished: {run.config.rounds} rounds, d = {run.task.get('d', 0):,} maskable weights.")
        if run.changes:
            st.warning(f"Changed midway: {style.markdown('; '.join(run.changes)[:2000])}")
    actions = {
        "starting": [("Stop", "stop", "stop")],
        "running": [("Pause run", "pause", "pause"), ("Stop", "stop", "stop")],
        "paused": [("Continue", "play_arrow", "run"), ("Step", "skip_next", "step"), ("Stop", "stop", "stop")],
    }.get(state, [])
    if state in ("stopped", "failed", "killed") and processes.can_resume(run):
        actions = [("Resume", "play_arrow", "resume")]
    for place, (name, icon, word) in zip(buttons, actions, strict=False):
        act, args = (queue.submit_again, (run,)) if word == "resume" else (RunFolder(run.path).ask, (word,))
        place.button(name, icon=f":material/{icon}:", key=f"{word}_run", width="stretch", on_click=act, args=args)
    with share:
        exports.draw_run_exports(run)
    with own:
        manage.draw(run, controls.take_over)


def _draw_figures(run: Run) -> None:
    """The headline figures, each a field of the record or a sum of one."""
    summary, last = run.summary(), run.records[-1]
    probe = run.records[0]["accuracy"]
    cells = st.container(horizontal=True, gap="medium")  # as many in a row as the screen is wide
    cells.metric(
        f"Accuracy, round {last['round']}", f"{last['accuracy']:.4f}", width=style.METRIC_WIDTH,
        delta=f"{last['accuracy'] - probe:+.4f} vs round 0" if last["round"] else None,
        help="Server model on the test set, with the mean mask (weights times θ_g). The delta is to round 0.",
    )  # fmt: skip
    counted = min(LAST, max(1, summary["rounds"]))
    cells.metric(
        "Accuracy, last ten" if counted == LAST else f"Accuracy, mean of {counted}",
        f"{summary['accuracy']:.4f}", width=style.METRIC_WIDTH,
        delta=f"worst client {summary['worst_client']:.4f}", delta_color="off", delta_arrow="off",
        help=f"Mean over the last {LAST} rounds, or as many as there are: one round's figure is noisy. Below, the same "
        "for the client that each round served worst.",
    )  # fmt: skip
    cells.metric(
        "Uplink a round", _bpp(summary["bpp_up"]), width=style.METRIC_WIDTH,
        delta=f"down {_bpp(summary['bpp_down'])}", delta_color="off", delta_arrow="off",
        help="Bits per parameter and client: 8 × bytes really sent / d, averaged over the rounds after 0. Below, what "
        "the server sends to each client.",
    )  # fmt: skip
    cells.metric(
        "Uplink in all", f"{summary['bpp_up_total']:.2f} bpp", width=style.METRIC_WIDTH,
        delta=f"down {summary['bpp_down_total']:.2f} bpp", delta_color="off", delta_arrow="off",
        help="All a client has sent so far, the head of round 0 included. Full fine-tuning sends 32 bpp a round.",
    )  # fmt: skip
    cells.metric(
        "Sent in all", byte_size(summary["uplink_bytes"]), width=style.METRIC_WIDTH,
        delta=f"down {byte_size(summary['downlink_bytes'])}", delta_color="off", delta_arrow="off",
        help="Sum of all clients' uplink payloads so far, and below of the server's messages to them.",
    )  # fmt: skip


def _bpp(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f} bpp"
