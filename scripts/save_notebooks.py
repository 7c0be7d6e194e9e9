"""Execute notebooks and save their outputs, with a still picture beside each interactive chart.

    python scripts/save_notebooks.py                 # those whose code has changed; prose is taken over as it is
    python scripts/save_notebooks.py --all           # every notebook
    python scripts/save_notebooks.py 03 05           # those whose name begins so

The text (`NN-name.py`) is the source; `NN-name.ipynb` is made from it. Needs Chromium or Chrome for the pictures.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jupytext
import kaleido
import nbformat
import plotly.graph_objects as go
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
CHART = "application/vnd.plotly.v1+json"
STILL_WIDTH = 860
MACHINE = re.compile(r"site-packages|(?<![\w.:/<)])/(?:[\w.-]+/)+|\b[A-Z]:\\\\")  # no URL, no tag


def find(prefixes: Sequence[str] = ()) -> list[Path]:
    """The texts (`.py`) of all notebooks, or of those whose names begin with one of `prefixes`, sorted."""
    return [text for text in sorted(NOTEBOOKS.glob("*.py")) if not prefixes or text.stem.startswith(tuple(prefixes))]


def code_digest(notebook: Any) -> str:
    """SHA-256 over the code cells: what outputs depend on. Prose may change without running anything."""
    digest = hashlib.sha256()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            digest.update(cell.source.encode() + b"\0")
    return digest.hexdigest()


def is_stale(text: Path) -> bool:
    """Was the saved notebook executed from other code than the text now has? True if it was never saved."""
    saved = text.with_suffix(".ipynb")
    if not saved.exists():
        return True
    stored = jupytext.read(saved).metadata.get("deltamask", {}).get("outputs_of")
    return bool(stored != code_digest(jupytext.read(text)))


def faults(notebook: Any) -> Iterator[str]:
    """Why these outputs should not be shown to anyone; nothing if they may be."""
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        if cell.execution_count is None:
            yield f"cell {index} was not executed"
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"cell {index} ended in {output.ename}: {output.evalue}"
            if output.get("name") == "stderr":
                yield f"cell {index} wrote to stderr: {output.text[:200]!r}"
            data = output.get("data", {})
            if CHART in data and "image/png" not in data:
                yield f"cell {index} has a chart without a still picture"
            text = output.get("text", "") + "".join(str(data.get(kind, "")) for kind in ("text/plain", "text/html"))
            if found := MACHINE.search(text):
                yield f"cell {index} names a place on one machine: {text[max(0, found.start() - 20) :][:60]!r}"


def render(notebook: Any, folder: Path, *, patience: int = 600) -> None:
    """Execute a notebook in `folder`, in place. Raises where a cell fails or takes longer than `patience` seconds."""
    os.environ["PLOTLY_RENDERER"] = "plotly_mimetype"
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # on a busy machine two threads mostly wait for each other
    client = NotebookClient(
        notebook, timeout=patience, kernel_name="python3", record_timing=False, coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )  # fmt: skip
    client.execute()


def add_stills(notebook: Any) -> None:
    """Beside each interactive chart one still picture, for pages that run no script. One browser draws them all."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                data.pop("image/jpeg", None)  # the same picture again, from Pillow
            if chart := data.get(CHART):
                figure = go.Figure(data=chart["data"], layout=chart["layout"], skip_invalid=True)
                picture = figure.to_image(format="png", width=STILL_WIDTH, scale=1.5)
                data["image/png"] = base64.b64encode(picture).decode()


def save(text: Path, *, execute: bool) -> None:
    """Write the `.ipynb` beside a text: with new outputs, or with those that are saved where only prose has changed."""
    notebook = jupytext.read(text)
    for index, cell in enumerate(notebook.cells):  # ids that do not change with every save
        cell["id"] = f"cell-{index:02d}"
    if execute:
        render(notebook, text.parent, patience=7200)  # on a busy machine, too
        add_stills(notebook)
        notebook.metadata["deltamask"] = {"outputs_of": code_digest(notebook)}
        notebook.metadata.get("language_info", {}).pop("version", None)
    else:
        old = nbformat.read(text.with_suffix(".ipynb"), as_version=4)
        notebook.metadata = old.metadata
        ran = iter(cell for cell in old.cells if cell.cell_type == "code")
        for cell in notebook.cells:
            if cell.cell_type == "code":
                before = next(ran)
                cell.outputs, cell.execution_count = before.outputs, before.execution_count
    nbformat.write(notebook, text.with_suffix(".ipynb"))
    for fault in faults(notebook):
        print(f"  {text.stem}: {fault}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    browser = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
    if browser is None:
        sys.exit("the still pictures need Chromium or Chrome on the PATH")
    os.environ.setdefault("BROWSER_PATH", browser)
    kaleido.start_sync_server(silence_warnings=True)
    for text in find(options.names):
        start = time.perf_counter()
        execute = bool(options.names) or options.all or is_stale(text)
        save(text, execute=execute)
        if execute:
            print(f"{text.stem}: saved in {time.perf_counter() - start:.0f} s", flush=True)
    kaleido.stop_sync_server()


if __name__ == "__main__":
    main()
