"""What is done to a run of one's own: take over its settings, star it, rename it, throw it away and take that back."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st
from ui import links
from ui.style import markdown, menu

from deltamask.base.paths import runs_dir
from deltamask.config import RunConfig
from deltamask.runs import StoreError, manage
from deltamask.runs.reader import Run
from deltamask.runs.stored import MAX_NOTE


def draw(run: Run, take_over: Callable[[RunConfig], None]) -> None:
    """A menu with what can be done to this run. take_over: puts a config into the form."""
    if st.session_state.pop("manage_done", False):
        st.rerun()  # the form, and whatever else of the page shows it, must know
    with menu("Manage", ":material/more_horiz:", "manage_run"):
        st.button(
            "Take over its settings", icon=":material/input:", key="take_over", type="tertiary",
            on_click=_take_over, args=(take_over, run.config),
            help="Puts every setting of this run into the form, to change one and run it again.",
        )  # fmt: skip
        if run.path.absolute().parent != runs_dir().absolute():
            st.caption("A recorded run: it comes with the repository, and keeps its name and its place.")
            return
        with st.form("mark", border=False):
            star = st.checkbox("Star: first in the list", run.mark.star)
            note = st.text_area("Note", run.mark.note, max_chars=MAX_NOTE, height="content")
            if st.form_submit_button("Save star and note", icon=":material/star:"):
                _mark(run, star, note)
        with st.form("rename", border=False):
            name = st.text_input("Name", run.path.name, max_chars=200)
            if st.form_submit_button("Rename", icon=":material/edit:"):
                _rename(run, name)
        st.button(
            "Delete", icon=":material/delete:", key="delete_run", on_click=_discard, args=(run,), type="tertiary",
            help="Can be taken back for a day.",
        )  # fmt: skip


def draw_undo() -> None:
    """Offers to take the last deletion back, and says what could not be done."""
    if fault := st.session_state.pop("manage_fault", None):
        st.error(markdown(fault))
    aside = st.session_state.get("discarded")
    if aside is not None:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"{markdown(aside.name.partition('-')[2])} was deleted.", width="content")
            st.button("Undo", icon=":material/undo:", key="undo_delete", on_click=_restore, type="tertiary")


def _take_over(fill: Callable[[RunConfig], None], config: RunConfig) -> None:
    fill(config)
    st.session_state.manage_done = True


def _mark(run: Run, star: bool, note: str) -> None:
    try:
        manage.mark(run, star=star, note=note)
    except (StoreError, OSError) as error:
        st.error(markdown(str(error)))
        return
    st.rerun()


def _rename(run: Run, name: str) -> None:
    try:
        folder = manage.rename(run, name.strip())
    except (StoreError, OSError) as error:
        st.error(markdown(str(error)))
        return
    _focus(folder.name)
    st.rerun()


def _discard(run: Run) -> None:
    try:
        st.session_state.discarded = manage.discard(run)
    except (StoreError, OSError) as error:
        st.session_state.manage_fault, st.session_state.manage_done = str(error), True
        return
    links.write(run=None)
    st.session_state.pop("focus", None)


def _restore() -> None:
    try:
        _focus(manage.restore(st.session_state.pop("discarded")).name)
    except (StoreError, OSError) as error:
        st.session_state.manage_fault = str(error)


def _focus(name: str) -> None:
    links.write(run=name)
    st.session_state.focus_next = name
