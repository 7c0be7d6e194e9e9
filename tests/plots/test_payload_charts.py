"""Charts of one payload: no byte, flip or position is lost on the way into a chart."""

from __future__ import annotations

import numpy as np
import pytest

from deltamask import codecs
from deltamask.inspection.anatomy import take_apart
from deltamask.inspection.codec_comparison import compare_codecs, entropy_bounds
from deltamask.inspection.false_flips import FalseFlips
from deltamask.inspection.part_costs import part_costs
from deltamask.masking.layers import Layer
from deltamask.plots import payload_charts
from tests.support.payloads import D, a_context, some_positions


@pytest.mark.parametrize("shape", [(200, 60, 5, 1), (60_000,), (7, 3), (1, 100)])
def test_a_map_counts_every_position_of_its_layer_once(shape: tuple[int, ...]) -> None:
    size = int(np.prod(shape))
    layer = Layer("layer", 500, 500 + size, shape)
    positions = np.arange(0, 500 + size + 40, 3)
    counts, cells = payload_charts.layer_cells(layer, positions)
    assert cells.sum() == size
    assert counts.sum() == ((positions >= 500) & (positions < 500 + size)).sum()
    assert (counts <= cells).all()
    assert counts.shape[0] <= payload_charts.ROWS
    assert counts.shape[1] <= payload_charts.COLUMNS


@pytest.mark.parametrize("name", ["bfuse8", "bloom-p0", "rice"])
def test_the_bar_of_parts_is_as_long_as_the_file(name: str) -> None:
    payload = codecs.get(name).encode(some_positions(), a_context())
    figure = payload_charts.part_costs(part_costs(take_apart(payload, a_context())))
    assert sum(bar.x[0] for bar in figure.data) == pytest.approx(len(payload))


def test_the_bars_of_codecs_are_their_bits_and_the_used_one_is_bold() -> None:
    positions, context = some_positions(), a_context()
    results = list(compare_codecs(positions, context))
    figure = payload_charts.codec_comparison(results, entropy_bounds(positions, context), "rice")
    bars = dict(zip(figure.data[0].y, figure.data[0].x, strict=True))
    size = len(codecs.get("rice").encode(positions, context))
    assert bars.pop("<b>rice</b>") == pytest.approx(8 * size / D)
    assert set(bars) == set(codecs.names()) - {"rice"}


def test_false_flips_are_drawn_in_the_order_of_rounds_with_the_shown_one_marked() -> None:
    payloads = [FalseFlips(round, client, 10, 5 * round + client, 4.0) for client in (0, 1) for round in (2, 1)]
    figure = payload_charts.false_flips(payloads, payloads[0])
    by_name = {trace.name: trace for trace in figure.data}
    assert list(by_name["counted, a client"].x) == [1, 1, 2, 2]
    assert sorted(by_name["counted, a client"].y) == [5, 6, 10, 11]
    assert (list(by_name["this payload"].x), list(by_name["this payload"].y)) == ([2], [10])
    assert set(by_name["expected"].y) == {4.0}
