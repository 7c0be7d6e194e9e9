"""Arms against each other: by seed and by image, and what an interval covers."""

from __future__ import annotations

import base64
import json
import math
import shutil
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest

from deltamask.runs import StoreError
from deltamask.studies.document import DocumentError, render
from deltamask.studies.tables import difference
from deltamask.studies.wording import number, times
from tests.support.study import HANDS, command, experiment_of, raw, read_csv, results_of


def test_arms_are_compared_image_by_image(copied: Path) -> None:
    """From the records' own bits: rounds 3 … 12 of three seeds, 100 images."""
    assert command(copied) == 0
    results = results_of(copied)
    shares = {}
    for arm in ("filter-gap", "fedpm"):
        bits = [
            [np.unpackbits(np.frombuffer(base64.b64decode(r["hits"]), np.uint8))[:100] for r in raw(copied, arm, s)[3:]]
            for s in range(3)
        ]
        shares[arm] = np.array(bits).mean(axis=(0, 1))  # (100,)
        assert shares[arm].mean() == pytest.approx(fmean(HANDS["accuracy"](raw(copied, arm, s)) for s in range(3)))
    each = (shares["filter-gap"] - shares["fedpm"]).tolist()
    found = difference(results, "small", "filter-gap", "fedpm")
    assert found.images == pytest.approx(1.959964 * stdev(each) / math.sqrt(100), rel=1e-6)
    shutil.rmtree(copied / "runs")
    assert difference(results_of(copied), "small", "filter-gap", "fedpm") == found  # the tables alone say the same
    (copied / "data" / "images.jsonl").unlink()
    assert math.isnan(difference(results_of(copied), "small", "filter-gap", "fedpm").images)


@pytest.mark.parametrize(
    "fault", [{"right": "AAAA"}, {"rounds": 3}, {"images": 101}, {"images": 10**9}, {"right": "?"}]
)
def test_damaged_images_are_an_error_with_a_name(copied: Path, fault: dict[str, Any]) -> None:
    assert command(copied) == 0
    path = copied / "data" / "images.jsonl"
    first, *others = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps(json.loads(first) | fault), *others]))
    with pytest.raises(StoreError, match=r"images\.jsonl: cannot be read"):
        results_of(copied)


def test_comparisons_say_difference_images_and_ratio_of_bits(copied: Path) -> None:
    assert command(copied) == 0
    results = results_of(copied)
    text = render("<!-- made: comparisons small filter-gap --><!-- /made -->", results)
    gaps = [difference(results, "small", "filter-gap", arm) for arm in ("filter-bfuse8", "fedpm")]
    smallest, largest = sorted(gap.p for gap in gaps)
    rows = {row["arm"]: row for row in results.rows(experiment_of(copied))}
    for gap, arm in zip(gaps, ("filter-bfuse8", "fedpm"), strict=True):
        together = min(1.0, 2 * smallest) if gap.p == smallest else max(min(1.0, 2 * smallest), largest)
        cells = [
            rows[arm]["label"], "3", f"{100 * gap.mean:+.2f} ± {100 * gap.seeds:.2f}", f"± {100 * gap.images:.2f}",
            f"{gap.p:.3f}", f"{together:.3f}",
            *(times(rows[arm][name] / rows["filter-gap"][name]) for name in ("bpp_up_all", "bpp_total_all")),
        ]  # fmt: skip
        assert "| " + " | ".join(cells) + " |" in text
    with pytest.raises(DocumentError, match="no arm 'fedmp'; arms: filter-bfuse8, filter-gap, fedpm"):
        render("<!-- made: comparisons small fedmp --><!-- /made -->", results)


def test_a_table_says_what_its_intervals_leave_out(copied: Path) -> None:
    assert command(copied) == 0
    accuracies = sorted(float(row["accuracy"]) for row in read_csv(copied / "data" / "summary.csv"))
    typical = accuracies[1]
    error = 1.959964 * math.sqrt(typical * (1 - typical) / 100)
    text = (copied / "results.md").read_text()
    said = "± covers seeds. The choice of the 100 images that all are measured on makes an accuracy of"
    assert f"{said} {typical:.2f} uncertain by ± {error:.4f} (95 %, binomial)" in text


def test_an_interval_of_a_share_stays_inside() -> None:
    assert number(0.99, 0.02, "accuracy") == "0.9900 (0.9700 to 1)"
    assert number(0.001, 0.003, "accuracy_spread") == "0.0010 (0 to 0.0040)"
    assert number(0.5, 0.02, "accuracy") == "0.5000 ± 0.0200"
    assert (times(24.26), times(1272.3), times(0.0145)) == ("× 24.3", "× 1,272", "× 0.0145")
    assert number(0.99, 0.02, "bpp_up") == "0.9900 ± 0.0200"
