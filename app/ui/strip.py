"""What runs and waits, on top of every page: how far it is, how long it will take, and what has finished."""

from __future__ import annotations

import streamlit as st
from ui import processes, progress, style

from deltamask.runs import queue

BEAT = 2.0  # seconds between two looks while something runs


def draw() -> None:
    """The strip; it takes no room while nothing runs or waits."""
    busy = bool(queue.active() or queue.waiting())
    st.fragment(_draw, run_every=BEAT if busy else None)(busy)


def _draw(busy_before: bool) -> None:
    active, waiting = queue.active(), queue.waiting()
    seen = st.session_state.get("strip_seen", [])
    for name in (name for name in seen if name not in active):
        run = processes.read(name)
        if run is not None and run.state in ENDED:
            st.toast(f"{style.markdown(name)} {ENDED[run.state]}.", icon=":material/flag:")
    st.session_state.strip_seen = active
    if busy_before and not active and not waiting:
        st.rerun()
    if not active and not waiting:
        return
    parts = []
    for name in active[:MOST]:
        run = processes.read(name)
        what = progress.of(run)[1] if run else "starting"
        parts.append(f'<a href="/?run={style.link(name)}" target="_self">{style.html(name)}</a>: {style.html(what)}')
    if waiting:
        names = ", ".join(style.html(entry.id) for entry in waiting[:MOST])
        parts.append(f"{len(waiting)} waiting: {names}{' …' if len(waiting) > MOST else ''}")
    st.html(f'<div class="strip" role="status">{" · ".join(parts)}</div>')


MOST = 3  # runs named
ENDED = {"finished": "has finished", "failed": "has failed", "killed": "was killed", "stopped": "was stopped"}
