"""One byte and one position: what the byte is, who asks for it, and how the filter answers, step by step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import streamlit as st
from wire import picture
from wire.opened import Opened, StoreError, who_asks
from wire.text import plain

from deltamask.codecs.wire.message import HEADER_BYTES
from deltamask.inspection import anatomy as under
from deltamask.inspection import filter_lookup
from deltamask.inspection.filter_lookup import BloomFilter, Lookup
from deltamask.masking import masks
from deltamask.masking.masks import Positions

EXAMPLES = 4  # positions offered of each sort
STEP = (
    '<div style="flex:1 1 11rem;border:1px solid rgba(128,138,155,.45);border-radius:.6rem;padding:.6rem .8rem;'
    'background:rgba(128,138,155,.08)"><div style="font-size:.78rem;opacity:.8">{title}</div>'
    '<div style="font-size:.95rem;line-height:1.5;font-variant-numeric:tabular-nums">{body}</div></div>'
)
HEX = '<code style="font-size:.85em">{}</code>'


def start(opened: Opened) -> None:
    """Put byte and position into the session, from the link the first time, always inside the payload's range."""
    notes: list[str] = []
    first_position = _first_flip(opened)
    for name, default, most in (
        ("byte", _first_byte(opened, first_position), len(opened.glass.pixels) - 1),
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
                    notes.append(f"{name} = {plain(asked)!r} is no number: using {default}")
        inside = min(max(st.session_state[key], 0), most)
        if inside != st.session_state[key]:
            if asked is not None:
                notes.append(f"{name} = {plain(asked)} is out of range (0 to {most:,}): using {inside:,}")
            st.session_state[key] = inside
    for note in notes:
        st.info(f"From the link: {note}", icon=":material/link:")


def _first_flip(opened: Opened) -> int:
    """A flip to begin with: one that was sent, if that is known."""
    if opened.flips is None:
        return 0
    known = opened.flips.decoded if opened.flips.sent is None else opened.flips.sent
    return int(known[len(known) // 2]) if len(known) else 0


def _first_byte(opened: Opened, position: int) -> int:
    """A byte to begin with: the first slot that the position asks, or what follows the header."""
    marks = _marks(opened, _ask(opened, position))
    return marks[0][0] if marks else min(HEADER_BYTES, len(opened.glass.pixels) - 1)


def _ask(opened: Opened, position: int) -> Lookup | None:
    filter = opened.glass.filter
    return filter_lookup.look_up(filter, position) if filter is not None and filter_lookup.slot_count(filter) else None


@st.fragment
def draw(opened: Opened) -> None:
    """The picture, the chosen byte, and the lookup of the chosen position; redrawn without the rest of the page."""
    start(opened)
    left, right = st.columns([3, 2], gap="large")
    glass = opened.glass
    with right:
        st.number_input(
            "Byte", 0, len(glass.pixels) - 1, key="wire_byte", step=1,
            help="Offset in the message: pixels row by row from the top left. Or click the picture.",
        )  # fmt: skip
        _draw_byte(opened, st.session_state.wire_byte)
    answer = _ask(opened, st.session_state.wire_position)
    with left:
        label = f"The payload as {glass.width} by {glass.height} pixels. Arrow keys move, Enter chooses a pixel."
        picture.draw(glass, st.session_state.wire_byte, _marks(opened, answer), label, _picked)
    if opened.flips is not None:
        _draw_position(opened, answer)
    st.query_params.update({name: str(st.session_state[f"wire_{name}"]) for name in ("byte", "position")})


def _picked() -> None:
    offset = picture.picked()
    if offset is not None:
        st.session_state.wire_byte = offset


def _choose_position(position: int) -> None:
    st.session_state.wire_position = position


def _marks(opened: Opened, answer: Lookup | None) -> list[tuple[int, int, str]]:
    """The bytes of the slots that the chosen position asks."""
    slots, glass = opened.glass.slots, opened.glass
    if answer is None or slots is None:
        return []
    if isinstance(glass.filter, BloomFilter):
        return [(slots.start + slot // 8, slots.start + slot // 8 + 1, picture.SLOT_COLORS[0]) for slot in answer.slots]
    starts = [slots.start + slot * glass.slot_bytes for slot in answer.slots]
    return [(at, at + glass.slot_bytes, color) for at, color in zip(starts, picture.SLOT_COLORS, strict=True)]


def _draw_byte(opened: Opened, offset: int) -> None:
    what = under.meaning(opened.glass, offset)
    st.markdown(f"### 0x{what.value:02x} = {what.value} = `{what.value:08b}`")
    st.markdown(what.text[0].upper() + what.text[1:] + ".")
    bits = opened.pixel_bits[offset]
    cost = f"{bits:.0f} bits of the file" if opened.glass.picture else "8 bits: this message is sent as it is"
    st.caption(f"{what.section.name}: {what.section.about}. It takes {cost}.")
    if what.slots is not None and opened.flips is not None:
        _draw_askers(opened, what.slots)
    elif opened.glass.kind == "rice" and what.section.name == "gaps" and opened.flips is not None:
        _offer("The flips whose gaps have bits in it", under.rice_positions(opened.glass, opened.flips.decoded, offset))
    elif what.section.role == "body" and opened.glass.kind in ("gap", "mask"):
        st.markdown("Range coding packs all positions into one long number: no byte belongs to a single position.")


def _draw_askers(opened: Opened, slots: tuple[int, int]) -> None:
    """Which positions depend on these slots, sorted by what became of them."""
    assert opened.flips is not None
    asking = who_asks(opened, *slots)
    flips = opened.flips
    which = "this slot" if slots[0] == slots[1] else "these bits"
    if flips.sent is None:
        read = np.intersect1d(asking, flips.decoded, assume_unique=True)
        st.markdown(f"**{len(asking):,}** positions ask {which}; the server reads **{len(read):,}** of them as flips.")
        _offer("Read as flips", read)
    else:
        sent = np.intersect1d(asking, flips.sent, assume_unique=True)
        false = np.intersect1d(np.setdiff1d(asking, sent, assume_unique=True), flips.decoded, assume_unique=True)
        st.markdown(
            f"**{len(asking):,}** of {opened.context.d:,} positions ask {which}: **{len(sent)}** sent flips, "
            f"**{len(false)}** false flips, and {len(asking) - len(sent) - len(false):,} that the filter denies."
        )
        _offer("Sent flips", sent)
        _offer("False flips", false)
    _offer("Others", np.setdiff1d(asking, flips.decoded, assume_unique=True))


def _offer(title: str, positions: Positions) -> None:
    """Some positions as buttons: pressing one looks it up."""
    if not len(positions):
        return
    st.caption(title + (f" ({EXAMPLES} of {len(positions):,})" if len(positions) > EXAMPLES else ""))
    with st.container(horizontal=True, gap="small"):
        for position in positions[:EXAMPLES].tolist():
            st.button(
                f"{position:,}", key=f"ask_{title}_{position}", on_click=_choose_position, args=(position,),
                type="tertiary", help="Look this position up",
            )  # fmt: skip


def _draw_position(opened: Opened, answer: Lookup | None) -> None:
    st.subheader("Ask about a position")
    flips = opened.flips
    assert flips is not None
    field, *rest = st.columns([2, 5])
    field.number_input(
        "Position",
        0,
        opened.context.d - 1,
        key="wire_position",
        step=1,
        help="In the flat vector of all masked weights.",
    )
    with rest[0], st.container(horizontal=True, gap="small", vertical_alignment="bottom", height="stretch"):
        for name, positions in _sorts(opened).items():
            st.button(
                name, key=f"next_{name}", on_click=_next_of(positions), disabled=not len(positions),
                help=f"{len(positions):,} in this payload: the next one after the position above",
            )  # fmt: skip
    position = st.session_state.wire_position
    layer = next(one for one in opened.layers if one.start <= position < one.stop)
    index = ", ".join(str(i) for i in np.unravel_index(position - layer.start, layer.shape))
    st.caption(f"Weight [{index}] of layer {plain(layer.name)}, whose shape is {' × '.join(map(str, layer.shape))}.")
    if answer is not None:
        st.html(f'<div style="display:flex;flex-wrap:wrap;gap:.6rem">{"".join(_steps(opened, answer))}</div>')
    _draw_verdict(opened, position)


def _sorts(opened: Opened) -> dict[str, Positions]:
    flips = opened.flips
    assert flips is not None
    if flips.sent is None:
        return {"A flip": flips.decoded}
    found = {"A sent flip": flips.sent, "A false flip": flips.false, "One held back by κ": flips.held_back}
    return {name: positions for name, positions in found.items() if positions is not None}


def _next_of(positions: Positions) -> Callable[[], None]:
    def choose() -> None:
        after = int(np.searchsorted(positions, st.session_state.wire_position, side="right"))
        st.session_state.wire_position = int(positions[after % len(positions)])

    return choose


def _steps(opened: Opened, answer: Lookup) -> list[str]:
    """The lookup as a row of cards. Only our own numbers go into it."""
    filter = opened.glass.filter
    assert filter is not None
    if isinstance(filter, BloomFilter):
        bits = ", ".join(f"{slot:,} → <b>{value}</b>" for slot, value in zip(answer.slots, answer.values, strict=True))
        return [
            STEP.format(title=f"1 · {filter.hashes} hashes give {filter.hashes} bits of {filter.m:,}", body=bits),
            STEP.format(title="2 · all must be set", body=f"{answer.combined} of {answer.wanted} are"),
        ]
    width = 2 * filter.fingerprints.itemsize
    part = "segment" if isinstance(filter, filter_lookup.FuseFilter) else "third"
    slots = "<br>".join(
        f'<span style="color:{color}">■</span> h{i} = <b>{slot:,}</b>, {part} {filter_lookup.segment_of(filter, slot)}'
        for i, (slot, color) in enumerate(zip(answer.slots, picture.SLOT_COLORS, strict=True))
    )
    values = "<br>".join(
        f'<span style="color:{color}">■</span> F[h{i}] = {HEX.format(f"{value:0{width}x}")}'
        for i, (value, color) in enumerate(zip(answer.values, picture.SLOT_COLORS, strict=True))
    )
    equal = "=" if answer.inside else "≠"
    return [
        STEP.format(
            title="1 · mix position and seed",
            body=f"murmur64({answer.position:,} + seed)<br>= {HEX.format(f'{answer.hash:016x}')}",
        ),
        STEP.format(title="2 · three slots from the hash", body=slots),
        STEP.format(title="3 · what they hold", body=values),
        STEP.format(title="4 · XOR of the three", body=HEX.format(f"{answer.combined:0{width}x}")),
        STEP.format(
            title=f"5 · its own {4 * width}-bit fingerprint",
            body=f"{HEX.format(f'{answer.wanted:0{width}x}')}<br>{HEX.format(f'{answer.combined:0{width}x}')} {equal} "
            f"{HEX.format(f'{answer.wanted:0{width}x}')}: <b>{'in the set' if answer.inside else 'not in the set'}</b>",
        ),
    ]


def _draw_verdict(opened: Opened, position: int) -> None:
    """What became of the position, and what that does to the client's mask bit."""
    flips = opened.flips
    assert flips is not None
    read = _has(flips.decoded, position)
    if flips.sent is None or flips.delta is None:
        text = "The server flips it." if read else "The server leaves it as it was."
        text += " This run kept no record of what the client meant, so true and false flips look alike here."
        st.info(text)
    elif _has(flips.sent, position):
        st.success("A true flip: learning changed it, κ let it through, the server flips it.", icon=":material/check:")
    elif read:
        st.error(
            "A false flip: nobody sent it, but the three slots happen to fit its fingerprint. The server "
            "flips it all the same.",
            icon=":material/casino:",
        )  # fmt: skip
    elif _has(flips.delta, position):
        st.warning(
            "It flipped at the client, but κ held it back: the server never learns of it.", icon=":material/block:"
        )
    else:
        st.info("It did not flip, and the server leaves it as it was.", icon=":material/horizontal_rule:")
    u = int(opened.context.noise.words(position, position + 1)[0])
    known = f"u = {u / masks.ONE:.5f}, drawn again here from the run's public seed."
    if st.toggle(
        "Rebuild θ_g", key="wire_theta", help="From the messages that the run kept; the first time this takes a moment."
    ):
        try:
            theta = int(opened.context.theta[position])
        except StoreError as error:
            st.warning(plain(error))
        else:
            bit = int(u < theta)
            sign = "<" if bit else "≥"
            st.markdown(
                f"θ_g = {theta / masks.ONE:.5f}. u = {u / masks.ONE:.5f} {sign} θ_g, so the global mask has a "
                f"**{bit}** here; for this client the server puts a **{bit ^ int(read)}**."
            )
            return
    st.caption(known)


def _has(positions: Positions, position: int) -> bool:
    at = int(np.searchsorted(positions, position))
    return at < len(positions) and int(positions[at]) == position
