"""Break it: change a byte of the payload, and see what the server makes of it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import streamlit as st
from wire.opened import Opened, StoreError
from wire.text import plain

from deltamask.inspection import corruption, recorded_payload
from deltamask.runs import launch

PIXEL, FILE = "a byte of the message", "a byte of the file"
TIMEOUT = 600  # seconds for playing a round again


@st.fragment
def draw(opened: Opened) -> None:
    """Controls, the verdict, and on demand the accuracy."""
    st.subheader("Break it")
    if opened.flips is None:
        st.caption("Only payloads of flips can be broken here.")
        return
    st.markdown(
        "Change one byte. A checksum guards the message; repair it, as an attacker would, and the server must "
        "live with what the byte now says."
    )
    _defaults(opened)
    with st.container(horizontal=True, gap="small"):
        for name, (offset, value, repair) in _ideas(opened).items():
            st.button(name, key=f"idea_{name}", on_click=_set, args=(offset, value, repair))
        st.button("The byte chosen above", key="idea_chosen", on_click=_take_chosen, args=(opened,))
    place = st.columns([2, 1, 1, 2], vertical_alignment="bottom")
    where = place[0].radio("Change", [PIXEL, FILE], key="break_where", horizontal=True)
    content = opened.glass.pixels if where == PIXEL and opened.glass.picture else opened.data
    st.session_state.break_offset = min(st.session_state.break_offset, len(content) - 1)
    offset = place[1].number_input("Offset", 0, len(content) - 1, step=1, key="break_offset")
    value = place[2].number_input("New value", 0, 255, step=1, key="break_value", help=f"It is {content[offset]} now.")
    repair = place[3].toggle("Repair the checksum", key="break_repair")
    if value == content[offset]:
        st.caption(f"Byte {offset:,} is {value} already: give it another value.")
        return
    if where == PIXEL:
        broken = corruption.change_pixel(opened.glass, offset, value, repair=repair)
    else:
        broken = corruption.change_file(opened.data, offset, value, repair=repair)
    try:
        verdict = corruption.judge(
            broken, lambda data: recorded_payload.decode(opened.run.config, data, opened.context), opened.flips.decoded
        )
    except StoreError as error:
        st.warning(plain(error))
        return
    _draw_verdict(opened, verdict, broken)
    _draw_accuracy(opened, broken)


def _defaults(opened: Opened) -> None:
    start = opened.glass.slots.start if opened.glass.slots else min(40, len(opened.data) - 1)
    st.session_state.setdefault("break_offset", st.session_state.get("wire_byte", start))
    st.session_state.setdefault("break_value", 255 ^ opened.glass.pixels[min(start, len(opened.glass.pixels) - 1)])
    st.session_state.setdefault("break_repair", False)
    st.session_state.setdefault("break_where", PIXEL)


def _ideas(opened: Opened) -> dict[str, tuple[int, int, bool]]:
    """Things worth trying: name → (offset, value, repair)."""
    pixels, slots = opened.glass.pixels, opened.glass.slots
    names = {section.name: section for section in opened.glass.sections}
    target = slots.start if slots else names["CRC-32"].stop
    while slots and target < slots.stop - 1 and not pixels[target]:
        target += 1  # a slot in use
    target = min(target, len(pixels) - 1)
    bit = pixels[target] ^ 1
    ideas = {"Flip one bit": (target, bit, False), "… and repair the checksum": (target, bit, True)}
    if "seed" in names:
        seed = names["seed"].start
        ideas["Another seed, repaired"] = (seed, pixels[seed] ^ 1, True)
    client = names["client"].start
    ideas["Speak for another client, repaired"] = (client, (pixels[client] + 1) % 256, True)
    return ideas


def _set(offset: int, value: int, repair: bool) -> None:
    st.session_state.update(break_where=PIXEL, break_offset=offset, break_value=value, break_repair=repair)


def _take_chosen(opened: Opened) -> None:
    offset = st.session_state.wire_byte
    _set(offset, opened.glass.pixels[offset] ^ 1, st.session_state.break_repair)


def _draw_verdict(opened: Opened, verdict: corruption.Verdict, broken: bytes) -> None:
    if verdict.refused is not None:
        st.error(f"Refused: {plain(verdict.refused)}.", icon=":material/gpp_bad:")
        st.caption("The server drops the payload, says so in the round's record, and goes on without this client.")
        return
    if broken == opened.data:
        st.info("The repair has undone the change: the payload is the one that was sent.")
        return
    flips = opened.flips
    assert flips is not None
    if verdict.mask_bits == 0:
        st.success("Accepted, and nothing changes: no position's answer depends on it in a way that shows.")
        return
    st.warning(
        f"Accepted: the server cannot know. **{verdict.mask_bits:,}** of {opened.context.d:,} bits of the "
        f"client's mask come out wrong: {len(verdict.lost):,} flips are lost, {len(verdict.gained):,} appear "
        "from nowhere.",
        icon=":material/warning:",
    )
    with st.expander("The positions"):
        rows = [{"position": int(p), "what happens": "lost"} for p in verdict.lost[:500]]
        rows += [{"position": int(p), "what happens": "appears"} for p in verdict.gained[:500]]
        st.dataframe(rows, hide_index=True)
        if verdict.mask_bits > len(rows):
            st.caption(f"The first 500 of each; {verdict.mask_bits:,} in all.")


def _draw_accuracy(opened: Opened, broken: bytes) -> None:
    """Play the round again with the broken payload, in a process of its own: training code stays out of the server."""
    missing = recorded_payload.missing_payload(opened.run, opened.payload.round)
    pressed = st.button(
        "What does it do to the accuracy?", key="break_accuracy", icon=":material/replay:",
        disabled=missing is not None,
        help="Runs `deltamask what-if`: all rounds' updates up to this one are made again from the kept payloads.",
    )  # fmt: skip
    if missing is not None:
        st.caption(f"The accuracy cannot be known here: {plain(missing)}.")
    if not pressed:
        return
    with st.spinner("Playing the round again, with and without the change"):
        answer = _what_if(opened, broken)
    if isinstance(answer, str):
        st.error(plain(answer))
        return
    cells = st.columns(3)
    cells[0].metric(
        f"Accuracy after round {answer['round']}", f"{answer['accuracy']:.4f}", help="Played again as it was."
    )
    cells[1].metric(
        "With the broken payload", f"{answer['changed']:.4f}", delta=f"{answer['changed'] - answer['accuracy']:+.4f}"
    )
    cells[2].metric("In the record", f"{answer['recorded']:.4f}", help="What the run itself wrote down.")
    if answer["dropped"]:
        st.caption("The payload was refused, so this is the round without this client.")


def _what_if(opened: Opened, broken: bytes) -> dict[str, Any] | str:
    """What the command answers, or what it complains of."""
    with tempfile.TemporaryDirectory(prefix="deltamask-") as folder:
        file = Path(folder) / opened.payload.path.name
        file.write_bytes(broken)
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
