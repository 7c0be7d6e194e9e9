"""Every notebook runs from top to bottom, and what is saved of it is what it would show. `make test-notebooks`"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest

from scripts.save_notebooks import NOTEBOOKS, code_digest, faults, find, is_stale, render

pytestmark = pytest.mark.notebook
TEXTS = find()
INDEX = NOTEBOOKS / "index.py"
every_notebook = pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.stem)


def saved(text: Path) -> Any:
    return nbformat.read(text.with_suffix(".ipynb"), as_version=4)


def test_there_are_ten_and_an_index_that_leads_to_each() -> None:
    assert [text.stem[:2] for text in TEXTS] == [*(f"{n:02d}" for n in range(1, 11)), "in"]
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == {text.stem for text in TEXTS}
    index = INDEX.read_text()
    for text in TEXTS[:-1]:
        assert f"({text.stem}.ipynb)" in index
        assert "(index.ipynb)" in text.read_text()
        assert "http://localhost:8501/learn" in text.read_text()


@every_notebook
def test_links_lead_somewhere(text: Path) -> None:
    prose = "\n".join(cell.source for cell in jupytext.read(text).cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", prose):
        assert (NOTEBOOKS / target).exists(), target


@pytest.mark.parametrize("text", TEXTS[:-1], ids=lambda text: text.stem)
def test_each_has_what_a_lesson_needs(text: Path) -> None:
    prose = text.read_text()
    parts = [
        "**Goal.**",
        "**Predict first.**",
        "answer to the prediction",
        "Exercise",
        "What would show this to be wrong?",
    ]
    places = [prose.find(part) for part in parts]
    assert -1 not in places, parts[places.index(-1)]
    assert places[:2] == sorted(places[:2])
    assert places[-1] == max(places)


@every_notebook
def test_saved_notebook_is_its_text(text: Path) -> None:
    cells = [(cell.cell_type, cell.source) for cell in saved(text).cells]
    written = [(cell.cell_type, cell.source) for cell in jupytext.read(text).cells]
    assert cells == written, f"run `python scripts/save_notebooks.py {text.stem}`"


@every_notebook
def test_saved_outputs_are_of_this_code_and_fit_to_be_shown(text: Path) -> None:
    assert not is_stale(text), f"the code has changed: run `python scripts/save_notebooks.py {text.stem}`"
    assert not list(faults(saved(text)))
    assert any(
        "image/png" in output.get("data", {}) for cell in saved(text).cells for output in cell.get("outputs", [])
    )


def wording(output: Any) -> tuple[str, list[str]]:
    """An output without its numbers, which another processor may round otherwise, and without its layout."""
    data = output.get("data", {})
    text = output.get("text", "") or ("" if "application/vnd.plotly.v1+json" in data else data.get("text/plain", ""))
    return output.output_type, re.sub(r"\d[\d,.]*(e[-+]\d+)?|NaN|nan|[\W_]+", " ", text).split()


@every_notebook
def test_notebook_runs_and_says_what_is_saved(text: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DELTAMASK_RUNS", str(tmp_path))  # only the recorded runs are seen, as when it was saved
    notebook = jupytext.read(text)
    render(notebook, NOTEBOOKS)
    faulty = [fault for fault in faults(notebook) if "still picture" not in fault]
    assert not faulty
    for index, (now, then) in enumerate(zip(notebook.cells, saved(text).cells, strict=True)):
        if now.cell_type == "code":
            said, then_said = [[wording(output) for output in cell.outputs] for cell in (now, then)]
            assert said == then_said, f"cell {index} is not what is saved: run `python scripts/save_notebooks.py`"


# The checks above, tried on a notebook with a fault.


def notebook_of(code: str) -> Any:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return notebook


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("1 / 0", "ended in ZeroDivisionError"),
        ("import sys; print('careful', file=sys.stderr)", "wrote to stderr"),
        ("import numpy; print(numpy.__file__)", "names a place on one machine"),
        ("import plotly.graph_objects as go; go.Figure()", "chart without a still picture"),
    ],
)
def test_faults_are_found(code: str, fault: str) -> None:
    notebook = notebook_of(code)
    assert any("not executed" in found for found in faults(notebook))
    for cell in notebook.cells:
        cell.metadata["tags"] = ["raises-exception"]
    render(notebook, NOTEBOOKS)
    assert any(fault in found for found in faults(notebook)), list(faults(notebook))


def test_a_changed_line_of_code_makes_outputs_stale_and_prose_does_not(tmp_path: Path) -> None:
    source = "# %% [markdown]\n# Some words.\n\n# %%\nprint(1)\n"
    text = tmp_path / "one.py"
    text.write_text(source)
    assert is_stale(text), "never saved"
    notebook = jupytext.read(text)
    notebook.metadata["deltamask"] = {"outputs_of": code_digest(notebook)}
    nbformat.write(notebook, text.with_suffix(".ipynb"))
    assert not is_stale(text)
    text.write_text(source.replace("words", "other words"))
    assert not is_stale(text)
    text.write_text(source.replace("print(1)", "print(2)"))
    assert is_stale(text)
