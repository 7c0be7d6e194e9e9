"""Break it: change a byte of the payload, and see what the server makes of it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import streamlit as st
from ui.style import markdown

from deltamask.inspection import corruption, recorded_payload
from deltamask.inspection.corruption import Change, CorruptionEffect
from deltamask.inspection.recorded_payload import RecordedPayload
from deltamask.runs import StoreError, launch

MESSAGE, FILE = "a byte of the message", "a byte of the file"
MAX_ROWS = 500  # positions listed of each kind
TIMEOUT = 600  # seconds for repeating a round


@st.fragment
def draw(opened: RecordedPayload) -> None:
    """Controls, what the server makes of the change, and on demand the accuracy."""
    st.header("Break it")
    flips = opened.flips
    if flips is None:
        st.caption("Only payloads of flips can be broken here.")
        return
    st.markdown(
        "Change one byte. A checksum guards the message; repair it, as an attacker would, and the server must "
        "use what the byte now says."
    )
    _set_defaults(opened)
    with st.container(horizontal=True, gap="small"):
        for name, change in corruption.examples(opened.anatomy).items():
            st.button(name, key=f"example_{name}", on_click=_set, args=(change,))
        st.button("The byte chosen above", key="example_chosen", on_click=_set_chosen, args=(opened,))
    columns = st.columns([2, 1, 1, 2], vertical_alignment="bottom")
    where = columns[0].radio("Change", [MESSAGE, FILE], key="break_where", horizontal=True)
    content = opened.anatomy.pixels if where == MESSAGE and opened.anatomy.is_picture else opened.data
    st.session_state.break_offset = min(st.session_state.break_offset, len(content) - 1)
    offset = columns[1].number_input("Offset", 0, len(content) - 1, step=1, key="break_offset")
    old = f"It is {content[offset]} now."
    value = columns[2].number_input("New value", 0, 255, step=1, key="break_value", help=old)
    repair = columns[3].toggle("Repair the checksum", key="break_repair")
    if value == content[offset]:
        st.caption(f"Byte {offset:,} is {value} already: give it another value.")
        return
    if where == MESSAGE:
        changed = corruption.change_message(opened.anatomy, Change(offset, value, repair))
    else:
        changed = corruption.change_file(opened.data, offset, value, repair=repair)
    try:
        effect = corruption.effect_of(
            changed, lambda data: recorded_payload.decode(opened.run.config, data, opened.context), flips.decoded
        )
    except StoreError as error:
        st.warning(markdown(str(error)))
        return
    _draw_effect(opened, effect, changed)
    _draw_accuracy(opened, changed)


def _set_defaults(opened: RecordedPayload) -> None:
    anatomy = opened.anatomy
    start = anatomy.slots.start if anatomy.slots else min(40, len(opened.data) - 1)
    st.session_state.setdefault("break_offset", st.session_state.get("wire_byte", start))
    st.session_state.setdefault("break_value", 255 ^ anatomy.pixels[min(start, len(anatomy.pixels) - 1)])
    st.session_state.setdefault("break_repair", False)
    st.session_state.setdefault("break_where", MESSAGE)


def _set(change: Change) -> None:
    st.session_state.update(
        break_where=MESSAGE, break_offset=change.offset, break_value=change.value, break_repair=change.repair
    )


def _set_chosen(opened: RecordedPayload) -> None:
    offset = st.session_state.wire_byte
    _set(Change(offset, opened.anatomy.pixels[offset] ^ 1, st.session_state.break_repair))


def _draw_effect(opened: RecordedPayload, effect: CorruptionEffect, changed: bytes) -> None:
    if effect.refused is not None:
        st.error(f"Refused: {markdown(effect.refused)}.", icon=":material/gpp_bad:")
        st.caption("The server drops the payload, says so in the round's record, and goes on without this client.")
        return
    if changed == opened.data:
        st.info("The repair has undone the change: the payload is the one that was sent.")
        return
    if effect.wrong_mask_bits == 0:
        st.success("Accepted, and nothing changes: every position gets the same answer as before.")
        return
    st.warning(
        f"Accepted: the server cannot know. **{effect.wrong_mask_bits:,}** of {opened.context.d:,} bits of the "
        f"client's mask come out wrong: {len(effect.lost):,} flips are lost, {len(effect.gained):,} appear "
        "that were not in the payload.",
        icon=":material/warning:",
    )
    with st.expander("The positions"):
        rows = [{"position": int(p), "what happens": "lost"} for p in effect.lost[:MAX_ROWS]]
        rows += [{"position": int(p), "what happens": "appears"} for p in effect.gained[:MAX_ROWS]]
        st.dataframe(rows, hide_index=True)
        if effect.wrong_mask_bits > len(rows):
            st.caption(f"The first {MAX_ROWS} of each; {effect.wrong_mask_bits:,} in all.")


def _draw_accuracy(opened: RecordedPayload, changed: bytes) -> None:
    """Repeat the round with the changed payload, in a process of its own: this one never loads training code."""
    missing = recorded_payload.missing_payload(opened.run, opened.payload.round)
    pressed = st.button(
        "What does it do to the accuracy?", key="break_accuracy", icon=":material/replay:",
        disabled=missing is not None,
        help="Runs `deltamask what-if`: all rounds' updates up to this one are made again from the kept payloads.",
    )  # fmt: skip
    if missing is not None:
        st.caption(f"The accuracy cannot be measured for this payload: {markdown(missing)}.")
    if not pressed:
        return
    with st.spinner("Repeating the round, with and without the change"):
        answer = _what_if(opened, changed)
    if isinstance(answer, str):
        st.error(markdown(answer))
        return
    cells = st.columns(3)
    cells[0].metric(f"Accuracy after round {answer['round']}", f"{answer['accuracy']:.4f}", help="Repeated as it was.")
    cells[1].metric(
        "With the changed payload", f"{answer['changed']:.4f}", delta=f"{answer['changed'] - answer['accuracy']:+.4f}"
    )
    cells[2].metric("In the record", f"{answer['recorded']:.4f}", help="What the run itself recorded.")
    if answer["dropped"]:
        st.caption("The payload was refused, so this is the round without this client.")


def _what_if(opened: RecordedPayload, changed: bytes) -> dict[str, Any] | str:
    """The answer of `deltamask what-if`, or its error message."""
    with tempfile.TemporaryDirectory(prefix="deltamask-") as folder:
        file = Path(folder) / opened.payload.name
        file.write_bytes(changed)
        words = [
            "what-if", str(opened.run.path.absolute()), "--json",
            "--payload", str(file), "--round", str(opened.payload.round), "--client", str(opened.payload.client),
        ]  # fmt: skip
        try:
            printed = launch.answer(words, timeout=TIMEOUT)
        except StoreError as error:
            return str(error)
    answer: dict[str, Any] = json.loads(printed)
    return answer
