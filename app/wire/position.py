"""One position: how the filter answers for it, step by step, and what became of its mask bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import streamlit as st
from ui.style import markdown
from wire.picture import SLOT_COLORS

from deltamask.inspection import filter_lookup
from deltamask.inspection.filter_lookup import BloomFilter, Filter, FuseFilter, Lookup
from deltamask.inspection.recorded_payload import Flips, RecordedPayload
from deltamask.masking import masks
from deltamask.masking.masks import Positions
from deltamask.runs import StoreError

STEP = (
    '<div style="flex:1 1 11rem;border:1px solid rgba(128,138,155,.45);border-radius:.6rem;padding:.6rem .8rem;'
    'background:rgba(128,138,155,.08)"><div style="font-size:.78rem;opacity:.8">{title}</div>'
    '<div style="font-size:.95rem;line-height:1.5;font-variant-numeric:tabular-nums">{body}</div></div>'
)
HEX = '<code style="font-size:.85em">{}</code>'


def first_flip(opened: RecordedPayload) -> int:
    """The position of a first visit: a flip that was sent, if that is known."""
    if opened.flips is None or not len(opened.flips.best_known):
        return 0
    positions = opened.flips.best_known
    return int(positions[len(positions) // 2])


def look_up(opened: RecordedPayload, position: int) -> Lookup | None:
    """The filter's answer for a position; None if the payload is no filter, or an empty one."""
    filter = opened.anatomy.filter
    return filter_lookup.look_up(filter, position) if filter is not None and filter_lookup.slot_count(filter) else None


def choose(position: int) -> None:
    st.session_state.wire_position = position


def draw(opened: RecordedPayload, flips: Flips, answer: Lookup | None) -> None:
    """The field and buttons that choose a position, the lookup's steps, and what became of the position."""
    st.header("Ask about a position")
    field, buttons = st.columns([2, 5])
    field.number_input(
        "Position", 0, opened.context.d - 1, key="wire_position", step=1,
        help="In the flat vector of all masked weights.",
    )  # fmt: skip
    with buttons, st.container(horizontal=True, gap="small", vertical_alignment="bottom", height="stretch"):
        for name, positions in _offered(flips).items():
            st.button(
                name, key=f"next_{name}", on_click=_next_of(positions), disabled=not len(positions),
                help=f"{len(positions):,} in this payload: the next one after the position above",
            )  # fmt: skip
    position = st.session_state.wire_position
    layer, index = opened.layer_of(position)
    place = ", ".join(map(str, index))
    st.caption(f"Weight [{place}] of layer {markdown(layer.name)}, whose shape is {' × '.join(map(str, layer.shape))}.")
    if answer is not None and opened.anatomy.filter is not None:
        steps = "".join(_steps(opened.anatomy.filter, answer))
        st.html(f'<div style="display:flex;flex-wrap:wrap;gap:.6rem">{steps}</div>')
    _draw_state(flips, position)
    _draw_mask_bit(opened, position)


def _offered(flips: Flips) -> dict[str, Positions]:
    """The kinds of positions that a button leads to."""
    if flips.sent is None:
        return {"A flip": flips.decoded}
    kinds = {"A sent flip": flips.sent, "A false flip": flips.false, "One held back by κ": flips.held_back}
    return {name: positions for name, positions in kinds.items() if positions is not None}


def _next_of(positions: Positions) -> Callable[[], None]:
    def choose_next() -> None:
        after = int(np.searchsorted(positions, st.session_state.wire_position, side="right"))
        choose(int(positions[after % len(positions)]))

    return choose_next


def _steps(filter: Filter, answer: Lookup) -> list[str]:
    """The lookup as a row of cards. Only numbers go into the HTML."""
    if isinstance(filter, BloomFilter):
        bits = ", ".join(f"{slot:,} → <b>{value}</b>" for slot, value in zip(answer.slots, answer.values, strict=True))
        return [
            STEP.format(title=f"1 · {filter.hashes} hashes give {filter.hashes} bits of {filter.m:,}", body=bits),
            STEP.format(title="2 · all must be set", body=f"{answer.combined} of {answer.wanted} are"),
        ]
    width = 2 * filter.fingerprints.itemsize
    part = "segment" if isinstance(filter, FuseFilter) else "third"
    slots = "<br>".join(
        f'<span style="color:{color}">■</span> h{i} = <b>{slot:,}</b>, {part} {filter_lookup.segment_of(filter, slot)}'
        for i, (slot, color) in enumerate(zip(answer.slots, SLOT_COLORS, strict=True))
    )
    values = "<br>".join(
        f'<span style="color:{color}">■</span> F[h{i}] = {HEX.format(f"{value:0{width}x}")}'
        for i, (value, color) in enumerate(zip(answer.values, SLOT_COLORS, strict=True))
    )
    combined, wanted = (HEX.format(f"{number:0{width}x}") for number in (answer.combined, answer.wanted))
    result = "in the set" if answer.is_member else "not in the set"
    return [
        STEP.format(
            title="1 · mix position and seed",
            body=f"murmur64({answer.position:,} + seed)<br>= {HEX.format(f'{answer.hash:016x}')}",
        ),
        STEP.format(title="2 · three slots from the hash", body=slots),
        STEP.format(title="3 · what they hold", body=values),
        STEP.format(title="4 · XOR of the three", body=combined),
        STEP.format(
            title=f"5 · its own {4 * width}-bit fingerprint",
            body=f"{wanted}<br>{combined} {'=' if answer.is_member else '≠'} {wanted}: <b>{result}</b>",
        ),
    ]


def _draw_state(flips: Flips, position: int) -> None:
    """What became of the position."""
    match flips.state(position):
        case "sent":
            st.success(
                "A true flip: learning changed it, κ let it through, the server flips it.", icon=":material/check:"
            )
        case "false":
            st.error(
                "A false flip: it was not sent, but the three slots happen to fit its fingerprint. The server "
                "flips it all the same.",
                icon=":material/casino:",
            )
        case "held back":
            st.warning(
                "It flipped at the client, but κ held it back: the server never learns of it.", icon=":material/block:"
            )
        case "unchanged":
            st.info("It did not flip, and the server leaves it as it was.", icon=":material/horizontal_rule:")
        case state:
            does = "flips it" if state == "decoded" else "leaves it as it was"
            st.info(
                f"The server {does}. This run kept no record of the client's own flips, so true and false flips "
                "cannot be told apart."
            )


def _draw_mask_bit(opened: RecordedPayload, position: int) -> None:
    """u of the position and, on demand, θ_g and the bit before and after decoding."""
    if not st.toggle(
        "Rebuild θ_g", key="wire_theta", help="From the messages that the run kept; the first time this takes a moment."
    ):
        _draw_u(opened, position)
        return
    try:
        bit = opened.mask_bit(position)
    except StoreError as error:
        st.warning(markdown(str(error)))
        _draw_u(opened, position)
        return
    sign = "<" if bit.global_bit else "≥"
    st.markdown(
        f"θ_g = {bit.theta / masks.ONE:.5f}. u = {bit.u / masks.ONE:.5f} {sign} θ_g, so the global mask has a "
        f"**{bit.global_bit}** here; for this client the server puts a **{bit.decoded_bit}**."
    )


def _draw_u(opened: RecordedPayload, position: int) -> None:
    st.caption(f"u = {opened.u(position) / masks.ONE:.5f}, drawn again from the run's public seed.")
