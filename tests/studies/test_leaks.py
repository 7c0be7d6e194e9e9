"""Tables of what messages give away: written, read, told with their intervals, and refused where they are not ours."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deltamask.base.paths import results_dir
from deltamask.runs import StoreError
from deltamask.studies import leaks
from tests.support.study import T2

ROOT = Path(__file__).resolve().parents[2]


def tables() -> dict[str, pd.DataFrame]:
    """Three clients and seeds, made up."""
    rates = ["tv", "tv_prior", "tv_control", "mae", "mae_prior", "mae_control", "auc", "auc_control", "tpr",
             "tpr_control"]  # fmt: skip
    clients = pd.DataFrame(
        [{"sent": sent, "alpha": 0.1, "seed": 0, "client": k} | dict.fromkeys(rates, 0.1 * (k + 1))
         for sent in ("fedpm", "deltamask") for k in range(3)]
    )  # fmt: skip
    links = pd.DataFrame(
        [{"sent": "fedpm", "alpha": 10_000.0, "seed": seed, "control": "alike", "auc": 0.5, "found": 0.1}
         for seed in range(3)]
    )  # fmt: skip
    audit = pd.DataFrame([{"noise": noise, "run": run, "proven": 1.0, "bound": (0.6 + 0.05 * run) / noise}
                          for noise in (1.0, 0.5) for run in range(3)])  # fmt: skip
    shares = pd.DataFrame([{"sent": "fedpm", "client": 0, "label": "Bag", "guess": 0.25, "truth": 0.5}])
    return {"clients": clients, "links": links, "audit": audit, "shares": shares}


def test_tables_come_back_as_they_were_written(tmp_path: Path) -> None:
    assert leaks.read(tmp_path) == {}
    leaks.write(tables(), tmp_path)
    found = leaks.read(tmp_path)
    for name, table in tables().items():
        assert set(table.columns) == leaks.COLUMNS[name]
        pd.testing.assert_frame_equal(found[name].fillna(""), table, check_dtype=False, check_exact=False, rtol=1e-4)


def test_another_seed_is_added_and_the_same_one_replaced() -> None:
    before = tables()
    later = {"links": before["links"].assign(seed=[1, 2, 3], auc=0.75), "shares": before["shares"].iloc[:0]}
    found = leaks.merged(before, later)
    assert found["links"]["seed"].tolist() == [0, 1, 2, 3]
    assert found["links"]["auc"].tolist() == [0.5, 0.75, 0.75, 0.75]
    for name in ("shares", "clients", "audit"):
        pd.testing.assert_frame_equal(found[name], before[name])


def test_a_figure_is_a_mean_and_students_interval() -> None:
    figure = leaks.figure(pd.Series([0.1, 0.2, 0.3]))
    assert figure == pytest.approx((0.2, T2 * 0.1 / math.sqrt(3), 3))
    assert figure.text() == f"0.200 ± {figure.width:.3f}"
    assert leaks.figure(pd.Series([0.5])).text() == "0.500"


def test_the_document_has_the_tables_figures_and_keeps_its_prose() -> None:
    text = "Before.\n<!-- made: labels -->old<!-- /made -->\nAfter.\n<!-- made: audit --><!-- /made -->\n"
    made = leaks.render(text, tables())
    assert "old" not in made
    assert made.index("DeltaMask, `gap`") < made.index("FedPM")  # whatever the order of the rows
    assert "| FedPM | 0.1 | 3 | 0.200 ± 0.248 |" in made
    assert "| 0.5 of that | 1 | 3 | 1.30 | 1.40 |" in made
    assert "After." in made
    assert leaks.render(made, tables()) == made
    assert "Not measured yet" in leaks.render(text, {})


def test_a_table_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "leaks-links.csv").write_text("a,b\n1,2\n")
    with pytest.raises(StoreError, match=r"leaks-links.csv cannot be read: has no column alpha"):
        leaks.read(tmp_path)


def test_the_page_of_documents_is_what_the_stored_tables_say() -> None:
    text = (ROOT / "docs" / "privacy.md").read_text()
    assert leaks.render(text, leaks.read(results_dir())) == text
    assert text.count("<!-- made: ") == len(leaks.KINDS)


def test_of_what_ships_each_client_has_shares_that_add_up() -> None:
    shipped = leaks.read(results_dir())
    if not shipped:  # nobody has measured yet, and the document says so
        assert "Not measured yet" in (ROOT / "docs" / "privacy.md").read_text()
        return
    for _, client in shipped["shares"].groupby(["sent", "client"]):
        assert client["truth"].sum() == pytest.approx(1, abs=1e-3)
        assert client["guess"].sum() == pytest.approx(1, abs=1e-3)
    first = shipped["clients"].query("seed == 0 and alpha == @leaks.SHOWN_ALPHA")
    for row in first.to_dict("records"):
        own = shipped["shares"].query("sent == @row['sent'] and client == @row['client']")
        distance = np.abs(own["guess"] - own["truth"]).sum() / 2
        assert distance == pytest.approx(row["tv"], abs=1e-3)
