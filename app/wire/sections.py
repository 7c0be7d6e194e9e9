"""What follows from a payload: its figures, where its bytes go, where its flips lie, and other codecs beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st
from ui.style import METRIC_WIDTH
from wire.opened import Opened, StoreError
from wire.text import plain

from deltamask.codecs import codecs
from deltamask.inspection import anatomy, codec_comparison, recorded_payload
from deltamask.masking.masks import Positions
from deltamask.plots import payload_charts

CHART: dict[str, Any] = {"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d"]}


def draw_figures(opened: Opened) -> None:
    """The headline figures of this payload."""
    flips, size = opened.flips, len(opened.data)
    cells = st.container(horizontal=True, gap="medium")
    cells.metric("File", f"{size:,} bytes", width=METRIC_WIDTH, help=opened.payload.path.name)
    cells.metric(
        "Uplink", f"{8 * size / opened.context.d:.4f} bpp", width=METRIC_WIDTH, help="8 × bytes of the file / d."
    )
    cells.metric("What it holds", opened.glass.kind, width=METRIC_WIDTH, help="The kind in the message's header.")
    if flips is not None:
        sent = "–" if flips.sent is None else f"{len(flips.sent):,}"
        cells.metric(
            "Flips sent", sent, width=METRIC_WIDTH, help="Δ′, known to the client only; from the run's own notes."
        )
        cells.metric(
            "Flips read", f"{len(flips.decoded):,}", width=METRIC_WIDTH,
            delta=None if flips.false is None else f"{len(flips.false):,} false", delta_color="off", delta_arrow="off",
            help="What the server decodes, by asking about every one of the d positions.",
        )  # fmt: skip
    else:
        st.info(plain(opened.why))


def draw_shares(opened: Opened) -> None:
    """Where the file's bytes go."""
    st.subheader("Where the bytes go")
    found = anatomy.shares(opened.glass)
    parts = "".join(
        f'<span><i style="background: {payload_charts.share_color(part)}"></i>{part.name}</span>' for part in found
    )
    st.html(f'<div class="legend">{parts}</div>')
    st.plotly_chart(payload_charts.byte_shares(found), key="wire_shares", config=CHART)
    st.caption(_about_slots(opened))
    size = len(opened.data)
    with st.expander("The same as a table"):
        rows = [
            {
                "part": share.name,
                "bytes in the message": share.message_bytes,
                "bits in the file": round(share.bits),
                "bytes in the file": round(share.bits / 8, 2),
                "share": f"{share.bits / 8 / size:.1%}",
            }
            for share in found
        ]
        total = sum(share.bits for share in found)
        rows.append(
            {
                "part": "the whole file",
                "bytes in the message": sum(share.message_bytes for share in found),
                "bits in the file": round(total),
                "bytes in the file": round(total / 8, 2),
                "share": "100.0%",
            }
        )
        st.dataframe(rows, hide_index=True)


def _about_slots(opened: Opened) -> str:
    kept = recorded_payload.client_record(opened.run, opened.payload.round, opened.payload.client).get("kept")
    slots, view = opened.glass.slots, opened.glass
    if slots is None or not isinstance(kept, int) or view.kind.startswith("bloom"):
        return "Bits of a picture are those of its DEFLATE codes, followed through the stream one by one."
    count = (slots.stop - slots.start) // view.slot_bytes
    return (
        f"{count:,} slots for {kept:,} flips: every flip settles one, so {count - kept:,} hold nothing and are "
        "0. PNG's DEFLATE gives that frequent byte a short code; bits are followed through the stream one by "
        "one."
    )


@st.fragment
def draw_map(opened: Opened) -> None:
    """Where flips lie in the layers."""
    st.subheader("Where the flips lie")
    flips = opened.flips
    assert flips is not None
    sorts = _sorts(opened)
    names = list(sorts)
    choice = st.segmented_control("Show", names, default=names[0], key="wire_sort", label_visibility="collapsed")
    positions, color, about = sorts[choice or names[0]]
    st.caption(f"{len(positions):,} positions. {about}")
    few = len(opened.layers) <= 8
    figure = payload_charts.layer_maps(opened.layers, positions, color, columns=2 if few else 4)
    st.plotly_chart(figure, key="wire_map", config=CHART)
    if len(opened.layers) > payload_charts.MAPS:
        st.caption(f"The first {payload_charts.MAPS} of {len(opened.layers)} layers; the table has all.")
    with st.expander("The same as a table"):
        bounds = [0, *(layer.stop for layer in opened.layers)]
        counts = {name: np.histogram(found, bins=bounds)[0] for name, (found, _, _) in sorts.items()}
        st.dataframe(
            [
                {"layer": layer.name, "positions": layer.stop - layer.start}
                | {name: int(by_layer[index]) for name, by_layer in counts.items()}
                for index, layer in enumerate(opened.layers)
            ],
            hide_index=True,
        )


def _sorts(opened: Opened) -> dict[str, tuple[Positions, str, str]]:
    flips = opened.flips
    assert flips is not None
    if flips.delta is None or flips.sent is None or flips.false is None or flips.held_back is None:
        return {
            "Flips read": (flips.decoded, payload_charts.SENT, "True and false ones: this run kept no notes on which.")
        }
    return {
        "Sent": (flips.sent, payload_charts.SENT, "Learning changed them, and κ let them through."),
        "False": (flips.false, payload_charts.FALSE, "Nobody sent them: spread evenly, for they come from hashing."),
        "Held back by κ": (flips.held_back, payload_charts.HELD_BACK, "Real flips with the smallest KL(θ_k ‖ θ_g)."),
        "All real flips": (
            flips.delta,
            payload_charts.ALL,
            "Δ: where the client's mask came to differ from the global one.",
        ),
    }


def draw_false_flips(opened: Opened) -> None:
    """Counted against predicted false flips, over the whole run."""
    codec = codecs[opened.run.config.codec]
    st.subheader("False flips, counted and predicted")
    rate = codec.false_positive_rate
    if codec.exact:
        st.markdown(f"`{codec.name}` is exact: what the server reads is what was sent, so there are none.")
        return
    d = opened.context.d
    lines = [
        (round, line["kept"], line["false_flips"], line["client"])
        for round, line in recorded_payload.client_lines(opened.run)
        if type(line.get("kept")) is int and type(line.get("false_flips")) is int
    ]
    here = next(
        ((r, false) for r, _, false, client in lines if (r, client) == (opened.payload.round, opened.payload.client)),
        None,
    )
    if rate is None:
        st.markdown(f"`{codec.name}` promises no fixed rate: it depends on how far its gate is open.")
        predicted = None
    else:
        predicted = [(d - kept) * rate for _, kept, _, _ in lines]
    if here is not None and rate is not None:
        kept = next(k for r, k, _, c in lines if (r, c) == (opened.payload.round, opened.payload.client))
        outside = d - kept
        st.markdown(
            f"`{codec.name}` promises one false flip in {1 / rate:,.0f} of the {outside:,} positions that were "
            f"not sent: **{outside * rate:,.1f}**. Counted: **{here[1]:,}**, a rate of 1 in "
            f"{outside / max(1, here[1]):,.1f}."
        )
    if lines and predicted is not None:
        figure = payload_charts.false_flips([r for r, *_ in lines], [f for _, _, f, _ in lines], predicted, here)
        st.plotly_chart(figure, key="wire_false", config=CHART)
    with st.expander("The same as a table"):
        st.dataframe(
            [
                {"round": r, "client": c, "sent": kept, "false flips": false}
                | ({"predicted": round(predicted[i], 1)} if predicted else {})
                for i, (r, kept, false, c) in enumerate(lines)
            ],
            hide_index=True,
        )


@st.fragment
def draw_rivals(opened: Opened) -> None:
    """The same flips in every codec, on demand."""
    st.subheader("The same flips in every codec")
    flips = opened.flips
    assert flips is not None
    positions = flips.decoded if flips.sent is None else flips.sent
    what = "the flips that were sent" if flips.sent is not None else "the flips as read, false ones included"
    st.markdown(
        f"Encodes {what} ({len(positions):,}) with each codec and decodes them again. Nothing here is a formula."
    )
    key = f"rivals_{opened.payload.path}_{opened.stamp}"
    if st.button("Encode with every codec", key="wire_encode", icon=":material/compare_arrows:"):
        try:
            _ = opened.context.theta
            with st.spinner("Encoding"):
                bar = st.progress(0.0)
                rows: list[codec_comparison.Rival] = []
                for row in codec_comparison.encode_all(positions, opened.context):
                    rows.append(row)
                    bar.progress(len(rows) / len(codecs), text=row.codec)
                bar.empty()
                st.session_state[key] = rows, codec_comparison.bounds(positions, opened.context)
        except StoreError as error:
            st.warning(f"Some codecs, and one of the bounds, need θ_g as it was. {plain(error)}")
    if key in st.session_state:
        rows, bounds = st.session_state[key]
        st.plotly_chart(payload_charts.rivals(rows, bounds, opened.run.config.codec), key="wire_rivals", config=CHART)
        st.caption("Blue: exact. Orange: adds false flips. Bold: what this run uses.")
        with st.expander("The same as a table"):
            st.dataframe([vars(row) for row in sorted(rows, key=lambda row: row.bytes)], hide_index=True)
            st.caption(f"Entropy, nothing known: {bounds[0]:.6f} bpp. Given what both sides know: {bounds[1]:.6f} bpp.")
