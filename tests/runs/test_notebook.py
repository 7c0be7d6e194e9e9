"""A run as a notebook: executed, it makes the same run again."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

from deltamask import run
from deltamask.cli import main
from deltamask.config import RunConfig
from deltamask.runs.notebook import as_notebook
from deltamask.runs.reader import load_run
from tests.support import tiny
from tests.support.records import finished_run


def execute(notebook: dict[str, Any]) -> dict[str, Any]:
    """What its cells define, run one after the other as a kernel does; `tiny` is known to this process alone."""
    scope: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile(cell["source"], cell["id"], "exec"), scope)
    return scope


def test_it_makes_the_same_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DELTAMASK_RUNS", str(tmp_path / "runs"))
    first = run(tiny.config(kappa=0.5, lr=0.30000000000000004), tmp_path / "runs" / "first")
    assert main(["export", "first", "--out", "first.ipynb"]) == 0
    notebook = json.loads((tmp_path / "first.ipynb").read_text())
    nbformat.validate(nbformat.from_dict(notebook))
    scope = execute(notebook)
    made = scope["made"]
    assert made.path != first.path
    assert made.config == first.config
    assert [*map(tiny.timeless, made.records)] == [*map(tiny.timeless, first.records)]
    assert scope["same"]
    assert "every round is the same" in capsys.readouterr().out
    assert not scope["difference"].to_numpy().any()
    assert [trace.name for trace in scope["chart"].data][-1] == "exported"

    # One figure that was another: it is found, and named.
    changed = {**first.records[1], "uplink_bytes": first.records[1]["uplink_bytes"] + 1}
    notebook["cells"][2]["source"] = as_notebook(first)["cells"][2]["source"].replace(
        repr(first.records[1]["uplink_bytes"]), repr(changed["uplink_bytes"])
    )
    scope = execute(notebook)
    assert not scope["same"]
    assert "rounds that differ: 1" in capsys.readouterr().out


def test_only_what_differs_from_the_defaults_is_said(tmp_path: Path) -> None:
    notebook = as_notebook(finished_run(tmp_path / "a", rounds=3, kappa=0.5))
    call = next(
        node for node in ast.walk(ast.parse(notebook["cells"][1]["source"]))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "RunConfig"
    )  # fmt: skip
    assert {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords} == {"rounds": 3, "kappa": 0.5}
    assert as_notebook(finished_run(tmp_path / "b", rounds=RunConfig().rounds))["cells"][1]["source"].count("=") == 2


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>", "`x` $y$ [a](b) **c**", "a'); import os; ('"])
def test_a_name_that_may_be_anybody_s_is_text(tmp_path: Path, name: str) -> None:
    """In a heading it is neither HTML nor Markdown, and no cell has it as code."""
    notebook = as_notebook(finished_run(tmp_path / name))
    heading, *code = (cell["source"] for cell in notebook["cells"])
    assert not set("<>`$[]*'") & set(heading.splitlines()[0])
    assert not any(name in source for source in code)


def test_a_setting_that_may_be_anybody_s_is_a_literal(tmp_path: Path) -> None:
    """A data set's name is free text in a folder that was uploaded."""
    run = finished_run(tmp_path / "a")
    nasty = 'x")\nimport os\nos.abort()  # \\'
    config = run.config.model_copy(update={"dataset": nasty})
    source = as_notebook(load_run(run.path).__class__(run.path, config, run.provenance, run.status))["cells"][1][
        "source"
    ]
    keywords = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.keyword) and node.arg == "dataset"]
    assert [ast.literal_eval(keyword.value) for keyword in keywords] == [nasty]
    assert "os.abort" not in [
        ast.unparse(node) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)
    ]
