"""What follows from a payload: its figures, what its parts cost, where its flips lie, and other codecs beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st
from ui.style import METRIC_WIDTH, html, markdown
from wire.selection import stamp

from deltamask.codecs import codecs
from deltamask.inspection import codec_comparison, recorded_payload
from deltamask.inspection.false_flips import FalseFlips, false_flips_of
from deltamask.inspection.filter_lookup import BloomFilter
from deltamask.inspection.part_costs import part_costs
from deltamask.inspection.recorded_payload import Flips, RecordedPayload
from deltamask.masking.masks import Positions
from deltamask.plots import payload_charts
from deltamask.runs import StoreError

CHART: dict[str, Any] = {"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d"]}
TABLE = "The same as a table"


def draw_figures(opened: RecordedPayload) -> None:
    """The headline figures of this payload."""
    flips = opened.flips
    cells = st.container(horizontal=True, gap="medium")
    cells.metric("File", f"{len(opened.data):,} bytes", width=METRIC_WIDTH, help=opened.payload.name)
    cells.metric("Uplink", f"{opened.bpp:.4f} bpp", width=METRIC_WIDTH, help="8 × bytes of the file / d.")
    cells.metric("What it holds", opened.anatomy.kind, width=METRIC_WIDTH, help="The kind in the message's header.")
    if flips is None:
        st.info(markdown(opened.no_flips or ""))
        return
    sent = "–" if flips.sent is None else f"{len(flips.sent):,}"
    cells.metric(
        "Flips sent", sent, width=METRIC_WIDTH,
        help="Δ′, known to the client only; from the file that the run keeps beside the payload.",
    )  # fmt: skip
    cells.metric(
        "Flips read", f"{len(flips.decoded):,}", width=METRIC_WIDTH,
        delta=None if flips.false is None else f"{len(flips.false):,} false", delta_color="off", delta_arrow="off",
        help="What the server decodes, by asking about every one of the d positions.",
    )  # fmt: skip


def draw_parts(opened: RecordedPayload) -> None:
    """Where the file's bytes go."""
    st.header("Where the bytes go")
    parts = part_costs(opened.anatomy)
    legend = "".join(
        f'<span><i style="background: {payload_charts.part_color(part)}"></i>{html(part.name)}</span>' for part in parts
    )
    st.html(f'<div class="legend">{legend}</div>')
    st.plotly_chart(payload_charts.part_costs(parts), key="wire_parts", config=CHART)
    st.caption(_about_slots(opened))
    with st.expander(TABLE):
        total = sum(part.bits for part in parts)
        message_bytes = sum(part.message_bytes for part in parts)
        rows = [(part.name, part.message_bytes, part.bits) for part in parts]
        st.dataframe(
            [
                {
                    "part": name,
                    "bytes in the message": count,
                    "bits in the file": round(bits),
                    "bytes in the file": round(bits / 8, 2),
                    "share": f"{bits / total:.1%}",
                }
                for name, count, bits in [*rows, ("the whole file", message_bytes, total)]
            ],
            hide_index=True,
        )


def _about_slots(opened: RecordedPayload) -> str:
    kept = recorded_payload.client_record(opened.run, opened.payload.round, opened.payload.client).get("kept")
    slots, anatomy = opened.anatomy.slots, opened.anatomy
    if not anatomy.is_picture:
        return "This message is sent as it is: every byte takes 8 bits."
    if slots is None or not isinstance(kept, int) or isinstance(anatomy.filter, BloomFilter):
        return "Bits of a picture are those of its DEFLATE codes, followed through the stream one by one."
    count = (slots.stop - slots.start) // anatomy.slot_bytes
    return (
        f"{count:,} slots for {kept:,} flips: every flip settles one, so {count - kept:,} hold nothing and are "
        "0. PNG's DEFLATE gives that frequent byte a short code; bits are followed through the stream one by "
        "one."
    )


@st.fragment
def draw_map(opened: RecordedPayload, flips: Flips) -> None:
    """Where flips lie in the layers."""
    st.header("Where the flips lie")
    kinds = _kinds(flips)
    names = list(kinds)
    choice = st.segmented_control("Show", names, default=names[0], key="wire_kind", label_visibility="collapsed")
    positions, color, about = kinds[choice or names[0]]
    st.caption(f"{len(positions):,} positions. {about}")
    few = len(opened.layers) <= 8
    figure = payload_charts.layer_maps(opened.layers, positions, color, columns=2 if few else 4)
    st.plotly_chart(figure, key="wire_map", config=CHART)
    if len(opened.layers) > payload_charts.MAPS:
        st.caption(f"The first {payload_charts.MAPS} of {len(opened.layers)} layers; the table has all.")
    with st.expander(TABLE):
        bounds = [0, *(layer.stop for layer in opened.layers)]
        counts = {name: np.histogram(positions, bins=bounds)[0] for name, (positions, _, _) in kinds.items()}
        st.dataframe(
            [
                {"layer": layer.name, "positions": layer.stop - layer.start}
                | {name: int(by_layer[index]) for name, by_layer in counts.items()}
                for index, layer in enumerate(opened.layers)
            ],
            hide_index=True,
        )


def _kinds(flips: Flips) -> dict[str, tuple[Positions, str, str]]:
    """The kinds of flips that a map can show: (positions, colour, explanation)."""
    if flips.delta is None or flips.sent is None or flips.false is None or flips.held_back is None:
        about = "True and false ones: this run kept no record of the client's own flips."
        return {"Flips read": (flips.decoded, payload_charts.SENT, about)}
    return {
        "Sent": (flips.sent, payload_charts.SENT, "Learning changed them, and κ let them through."),
        "False": (flips.false, payload_charts.FALSE, "Not sent: spread evenly, for they come from hashing."),
        "Held back by κ": (flips.held_back, payload_charts.HELD_BACK, "Real flips with the smallest KL(θ_k ‖ θ_g)."),
        "All real flips": (
            flips.delta,
            payload_charts.ALL,
            "Δ: where the client's mask came to differ from the global one.",
        ),
    }


def draw_false_flips(opened: RecordedPayload) -> None:
    """Counted against expected false flips, over the whole run."""
    codec = recorded_payload.flip_codec(opened.run.config)
    assert codec is not None
    st.header("False flips, counted and expected")
    if codec.exact:
        st.markdown(f"`{codec.name}` is exact: what the server reads is what was sent, so there are none.")
        return
    payloads = false_flips_of(opened.run, opened.context.d)
    place = (opened.payload.round, opened.payload.client)
    shown = next((payload for payload in payloads if (payload.round, payload.client) == place), None)
    rate = codec.false_positive_rate
    if rate is None:
        st.markdown(f"`{codec.name}` promises no fixed rate: it depends on how far its gate is open.")
    elif shown is not None:
        st.markdown(_about_false_flips(codec.name, rate, shown, opened.context.d - shown.sent))
    if payloads and rate is not None:
        st.plotly_chart(payload_charts.false_flips(payloads, shown), key="wire_false", config=CHART)
    with st.expander(TABLE):
        st.dataframe(
            [
                {"round": row.round, "client": row.client, "sent": row.sent, "false flips": row.counted}
                | ({} if row.expected is None else {"expected": round(row.expected, 1)})
                for row in payloads
            ],
            hide_index=True,
        )


def _about_false_flips(codec: str, rate: float, shown: FalseFlips, not_sent: int) -> str:
    return (
        f"`{codec}` promises one false flip in {1 / rate:,.0f} of the {not_sent:,} positions that were not sent: "
        f"**{shown.expected:,.1f}**. Counted: **{shown.counted:,}**, a rate of 1 in "
        f"{not_sent / max(1, shown.counted):,.1f}."
    )


@st.fragment
def draw_codecs(opened: RecordedPayload, flips: Flips) -> None:
    """The same flips in every codec, on demand."""
    st.header("The same flips in every codec")
    positions = flips.best_known
    what = "the flips that were sent" if flips.sent is not None else "the flips as read, false ones included"
    st.markdown(
        f"Encodes {what} ({len(positions):,}) with each codec and decodes them again. Every figure is measured."
    )
    key = f"codecs_{opened.run.path}_{opened.payload.name}_{stamp(opened.run, opened.payload)}"
    if st.button("Encode with every codec", key="wire_encode", icon=":material/compare_arrows:"):
        try:
            _ = opened.context.theta  # rebuilt before any codec is timed
            with st.spinner("Encoding"):
                bar = st.progress(0.0)
                results: list[codec_comparison.CodecResult] = []
                for result in codec_comparison.compare_codecs(positions, opened.context):
                    results.append(result)
                    bar.progress(len(results) / len(codecs), text=result.codec)
                bar.empty()
                st.session_state[key] = results, codec_comparison.entropy_bounds(positions, opened.context)
        except StoreError as error:
            st.warning(f"Not compared: {markdown(str(error))}. Some codecs, and one of the bounds, need θ_g as it was.")
    if key in st.session_state:
        results, bounds = st.session_state[key]
        used = recorded_payload.flip_codec(opened.run.config)
        figure = payload_charts.codec_comparison(results, bounds, used.name if used else "")
        st.plotly_chart(figure, key="wire_codecs", config=CHART)
        st.caption("Blue: exact. Orange: adds false flips. Bold: what this run uses.")
        with st.expander(TABLE):
            st.dataframe([vars(row) for row in sorted(results, key=lambda row: row.bytes)], hide_index=True)
            st.caption(
                f"Entropy, knowing only n and d: {bounds[0]:.6f} bpp. Given what both sides know: {bounds[1]:.6f} bpp."
            )
