"""The picture and the chosen byte: what the byte is, what it costs, and which positions ask it."""

from __future__ import annotations

import streamlit as st
from ui.style import markdown
from wire import picture, position, selection

from deltamask.codecs.wire.message import HEADER_BYTES
from deltamask.inspection.anatomy import flips_in_byte, meaning
from deltamask.inspection.filter_lookup import BloomFilter, Lookup
from deltamask.inspection.recorded_payload import RecordedPayload
from deltamask.masking.masks import Positions

EXAMPLES = 4  # positions offered of each group
GROUP_TITLES = {"sent": "Sent flips", "false": "False flips", "decoded": "Read as flips", "not decoded": "Others"}


@st.fragment
def draw(opened: RecordedPayload) -> None:
    """The picture, the chosen byte, and the lookup of the chosen position; redrawn without the rest of the page."""
    _start(opened)
    anatomy = opened.anatomy
    left, right = st.columns([3, 2], gap="large")
    with right:
        st.number_input(
            "Byte", 0, len(anatomy.pixels) - 1, key="wire_byte", step=1,
            help="Offset in the message: pixels row by row from the top left. Or click the picture.",
        )  # fmt: skip
        _draw_byte(opened, st.session_state.wire_byte)
    answer = position.look_up(opened, st.session_state.wire_position)
    with left:
        label = f"The payload as {anatomy.width} by {anatomy.height} pixels. Arrow keys move, Enter chooses a pixel."
        picture.draw(anatomy, st.session_state.wire_byte, _marks(opened, answer), label, _take_picked)
    if opened.flips is not None:
        position.draw(opened, opened.flips, answer)
    st.query_params.update({name: str(st.session_state[f"wire_{name}"]) for name in ("byte", "position")})


def _start(opened: RecordedPayload) -> None:
    """Put byte and position into the session, from the link the first time, always inside the payload's range."""
    notes: list[str] = []
    first_position = position.first_flip(opened)
    for name, default, most in (
        ("byte", _first_byte(opened, first_position), len(opened.anatomy.pixels) - 1),
        ("position", first_position, opened.context.d - 1),
    ):
        key = f"wire_{name}"
        asked = st.query_params.get(name)
        if key not in st.session_state:
            st.session_state[key] = default
            if asked is not None:
                try:
                    st.session_state[key] = int(asked)
                except ValueError:
                    notes.append(f"{name} = {markdown(asked)!r} is no number: using {default}")
        inside = min(max(st.session_state[key], 0), most)
        if inside != st.session_state[key]:
            if asked is not None:
                notes.append(f"{name} = {markdown(asked)} is out of range (0 to {most:,}): using {inside:,}")
            st.session_state[key] = inside
    for note in notes:
        st.info(f"From the link: {note}", icon=":material/link:")


def _first_byte(opened: RecordedPayload, first_position: int) -> int:
    """The byte of a first visit: the first slot that the position asks, or the first byte after the header."""
    marks = _marks(opened, position.look_up(opened, first_position))
    return marks[0][0] if marks else min(HEADER_BYTES, len(opened.anatomy.pixels) - 1)


def _take_picked() -> None:
    offset = picture.picked()
    if offset is not None:
        st.session_state.wire_byte = offset


def _marks(opened: RecordedPayload, answer: Lookup | None) -> list[tuple[int, int, str]]:
    """(start, stop, colour) of the bytes of the slots that the chosen position asks."""
    anatomy = opened.anatomy
    if answer is None or anatomy.slots is None:
        return []
    first = anatomy.slots.start
    if isinstance(anatomy.filter, BloomFilter):
        return [(first + slot // 8, first + slot // 8 + 1, picture.SLOT_COLORS[0]) for slot in answer.slots]
    starts = [first + slot * anatomy.slot_bytes for slot in answer.slots]
    return [
        (start, start + anatomy.slot_bytes, color) for start, color in zip(starts, picture.SLOT_COLORS, strict=True)
    ]


def _draw_byte(opened: RecordedPayload, offset: int) -> None:
    anatomy, flips = opened.anatomy, opened.flips
    byte = meaning(anatomy, offset)
    st.markdown(f"### 0x{byte.value:02x} = {byte.value} = `{byte.value:08b}`")
    st.markdown(byte.text[0].upper() + byte.text[1:] + ".")
    bits = opened.pixel_bits[offset]
    cost = f"{bits:.0f} bits of the file" if anatomy.is_picture else "8 bits: this message is sent as it is"
    st.caption(f"{byte.section.name}: {byte.section.about}. It takes {cost}.")
    if byte.slots is not None and flips is not None:
        _draw_askers(opened, byte.slots)
    elif flips is not None and (positions := flips_in_byte(anatomy, flips.decoded, offset)) is not None:
        _offer("The flips that have bits in it", positions)


def _draw_askers(opened: RecordedPayload, slots: tuple[int, int]) -> None:
    """Which positions depend on these slots, grouped by what the server makes of them."""
    flips = opened.flips
    assert flips is not None
    asking = selection.askers(opened, *slots)
    groups = flips.group(asking)
    which = "this slot" if slots[0] == slots[1] else "these bits"
    if "decoded" in groups:
        read = f"the server reads **{len(groups['decoded']):,}** of them as flips."
        st.markdown(f"**{len(asking):,}** positions ask {which}; {read}")
    else:
        sent, false, others = (len(groups[state]) for state in ("sent", "false", "not decoded"))
        st.markdown(
            f"**{len(asking):,}** of {opened.context.d:,} positions ask {which}: **{sent}** sent flips, "
            f"**{false}** false flips, and {others:,} that the filter denies."
        )
    for state, positions in groups.items():
        _offer(GROUP_TITLES[state], positions)


def _offer(title: str, positions: Positions) -> None:
    """Some positions as buttons: pressing one looks it up."""
    if not len(positions):
        return
    st.caption(title + (f" ({EXAMPLES} of {len(positions):,})" if len(positions) > EXAMPLES else ""))
    with st.container(horizontal=True, gap="small"):
        for number in positions[:EXAMPLES].tolist():
            st.button(
                f"{number:,}", key=f"ask_{title}_{number}", on_click=position.choose, args=(number,),
                type="tertiary", help="Look this position up",
            )  # fmt: skip
