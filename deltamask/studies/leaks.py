"""What messages give away, as `benchmarks/leaks.py` measured it: its tables, and what documents and pages say of them.

leaks-clients.csv   a row a client and way of sending: how well its labels and images were guessed from its payloads
leaks-links.csv     a row a run: how well two rounds' messages were matched
leaks-shares.csv    guessed and true shares of labels of one seed's clients, from their first messages
leaks-audit.csv     a row an audit of the private head: the ε that is proven, and the ε that its attack proves at least
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from deltamask.base.files import write_atomic
from deltamask.runs import StoreError
from deltamask.studies.document import with_blocks
from deltamask.studies.intervals import figure
from deltamask.studies.wording import markdown_table

Tables = Mapping[str, pd.DataFrame]
COLUMNS = {
    "clients": {"sent", "alpha", "seed", "client", "tv", "tv_prior", "tv_control", "mae", "mae_prior", "mae_control",
                "auc", "auc_control", "tpr", "tpr_control"},
    "links": {"sent", "alpha", "seed", "control", "auc", "found"},
    "shares": {"sent", "client", "label", "guess", "truth"},
    "audit": {"noise", "run", "proven", "bound"},
}  # fmt: skip
WAYS = {
    "deltamask": "DeltaMask, `gap`", "deltamask-bfuse8": "DeltaMask, `bfuse8`", "fedpm": "FedPM",
    "finetune": "Fine-tuning", "deltamask-dp": "DeltaMask, `gap`, ε 4",
}  # fmt: skip
CONTROLS = {"": "as in the runs", "alike": "α 10,000: clients alike",
            "dealt anew": "α 10,000, samples dealt anew between the rounds"}  # fmt: skip
EPSILON = 4.0  # of the way of sending with noise
SHOWN_ALPHA, SHOWN_SEED = 0.1, 0  # of the clients whose shares are kept
LARGEST = 1 << 20  # bytes of a table


def write(tables: Tables, data: Path) -> None:
    """Into `data`, in five digits."""
    data.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        with write_atomic(data / f"leaks-{name}.csv") as file:
            file.write(table.to_csv(index=False, float_format="%.5g", lineterminator="\n").encode())


def merged(before: Tables, found: Tables) -> dict[str, pd.DataFrame]:
    """What was found in place of what stood there of the same seeds; of a table without seeds, if it has any rows."""
    together = dict(before)
    for name, table in found.items():
        if name in before and not len(table):
            continue
        if name in before and "seed" in table:
            others = before[name][~before[name]["seed"].isin(table["seed"])]
            table = pd.concat([others, table], ignore_index=True).sort_values("seed", kind="stable", ignore_index=True)
        together[name] = table
    return together


def read(data: Path) -> dict[str, pd.DataFrame]:
    """The tables in `data`; none of what nobody has measured. StoreError for a table that is none of ours."""
    found = {}
    for name, columns in COLUMNS.items():
        path = data / f"leaks-{name}.csv"
        if not path.is_file():
            continue
        try:
            if path.stat().st_size > LARGEST:
                raise ValueError(f"larger than {LARGEST:,} bytes")
            table = pd.read_csv(path, keep_default_na=False, na_values=["nan"])
            if lacking := columns - set(table.columns):
                raise ValueError(f"has no column {', '.join(sorted(lacking))}")
        except (ValueError, OSError) as error:
            raise StoreError(f"{path} cannot be read: {error}") from error
        found[name] = table
    return found


def labels(tables: Tables) -> str:
    """How far guessed shares are from the true ones, for each way of sending and α."""
    rows = []
    for (sent, alpha), part in _groups(tables["clients"], "alpha"):
        cells = [figure(part[name]).text() for name in ("tv", "tv_prior", "tv_control", "mae", "mae_prior")]
        rows.append([WAYS[sent], f"{alpha:g}", str(len(part)), *cells])
    head = ["sent by", "α", "clients", "distance, guessed", "of the prior", "of the control", "mean error, guessed",
            "of the prior"]  # fmt: skip
    return markdown_table(head, rows)


def members(tables: Tables) -> str:
    """How well a client's images are told from others of the same class."""
    rows = []
    for (sent, alpha), part in _groups(tables["clients"], "alpha"):
        cells = [figure(part[name]).text() for name in ("auc", "auc_control", "tpr", "tpr_control")]
        rows.append([WAYS[sent], f"{alpha:g}", str(len(part)), *cells])
    return markdown_table(["sent by", "α", "clients", "AUC", "control", "found at 1 %", "control"], rows)


def links(tables: Tables) -> str:
    """How well messages of two rounds are matched."""
    rows = []
    for (sent, control, alpha), part in _groups(tables["links"], "control", "alpha"):
        cells = [figure(part[name]).text() for name in ("auc", "found")]
        rows.append([WAYS[sent], f"{alpha:,g}" if not control else CONTROLS[control], str(len(part)), *cells])
    return markdown_table(["sent by", "clients (α)", "seeds", "AUC", "clients found again"], rows)


def audit(tables: Tables) -> str:
    """The lower bounds of the audits beside what is proven."""
    rows = []
    for noise, part in tables["audit"].groupby("noise", sort=False):
        proven, bounds = part["proven"].iloc[0], part["bound"]
        what = "as it takes" if noise == 1 else f"{noise:g} of that"
        rows.append([what, f"{proven:g}", str(len(part)), *(f"{of:.2f}" for of in (bounds.median(), bounds.max()))])
    return markdown_table(["noise", "proven ε", "audits", "bound, median", "bound, highest"], rows)


KINDS: dict[str, tuple[str, Callable[[Tables], str]]] = {
    "labels": ("clients", labels), "members": ("clients", members), "links": ("links", links),
    "audit": ("audit", audit),
}  # fmt: skip


def render(document: str, tables: Tables) -> str:
    """The document with its blocks made anew."""

    def made(what: str) -> str:
        table, make = KINDS[what]
        text = make(tables) if table in tables else f"Not measured yet ({what}): `python benchmarks/leaks.py --write`."
        return f"\n\n{text}\n\n"

    return with_blocks(document, made)


def _groups(table: pd.DataFrame, *by: str) -> list[tuple[tuple[str, ...], pd.DataFrame]]:
    """The rows of one way of sending and of equal `by`, in the order of WAYS."""
    order = {sent: place for place, sent in enumerate(WAYS)}
    parts: list[tuple[Any, pd.DataFrame]] = list(table.groupby(["sent", *by], sort=False))
    return sorted(parts, key=lambda each: order[each[0][0]])
