"""docs/scale.md's tables, from benchmarks/results/federation.json. Run by `federation.py --write`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from deltamask.studies.document import BLOCK
from deltamask.studies.wording import markdown_table

DAY = 86_400
CROWDS = (10_000, 100_000, 1_000_000)  # clients a day
Row = dict[str, Any]


def write_tables(stored: dict[str, Any], path: Path) -> None:
    """Replace what stands between the document's marks."""
    text = BLOCK.sub(
        lambda block: f"<!-- made: {block['what']} -->\n{_made(block['what'], stored)}\n<!-- /made -->",
        path.read_text(),
    )
    path.write_text(text)


def _made(what: str, stored: dict[str, Any]) -> str:
    tables: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
        "setting": ("network", setting), "bytes": ("network", network), "engines": ("engines", engines),
        "crowd": ("crowd", crowd), "day": ("network", day), "limit": ("network", limit),
    }  # fmt: skip
    part, table = tables[what]
    return table(stored[part]) if part in stored else "Not measured yet: `python benchmarks/federation.py`."


def setting(part: dict[str, Any]) -> str:
    """What it was measured on."""
    on = part["machine"]
    return (
        f"{on['cores']}-core {on['cpu']}, {on['memory_gb']} GB, flwr {on['flwr']}, ray {on['ray']}, "
        f"torch {on['torch']}; load average while measuring {part['load_average']:.1f}."
    )


def network(part: dict[str, Any]) -> str:
    """A round's bytes, ours and Flower's."""
    (row,) = part["rows"]
    nodes, spent, idle = row["clients"], row["per_round"], row["idle"]
    polling = {way: idle[way] / idle["seconds"] * spent["seconds"] for way in ("up", "down")}
    lines = [("payloads, as in our ledger", row["ledger_up"], row["ledger_down"])]
    lines += [("nodes that ask for work (measured idle, over the round's seconds)", polling["up"], polling["down"])]
    rest = [spent[way] - row[f"ledger_{way}"] - polling[way] for way in ("up", "down")]
    lines += [("envelope: records, object trees, HTTP, TLS", *rest)]
    lines += [("on the network", spent["up"], spent["down"])]
    rows = [[name, f"{up / nodes:,.0f}", f"{down / nodes:,.0f}"] for name, up, down in lines]
    return markdown_table(["bytes a node and round", "up", "down"], rows)


def engines(part: dict[str, Any]) -> str:
    """Seconds of the same rounds."""
    base = part["rows"][0]["per_round"]["seconds"]
    rows = [
        [
            row["engine"], f"{row['per_round']['seconds']:.2f}", f"{row['per_round']['seconds'] / base:.2f}",
            f"{row['per_round']['cpu']:.2f}", f"{row['peak_mb']:,.0f}", f"{row['accuracy']:.4f}",
        ]
        for row in part["rows"]
    ]  # fmt: skip
    return markdown_table(["engine", "s a round", "× in process", "CPU s a round", "peak MB", "accuracy"], rows)


def crowd(part: dict[str, Any]) -> str:
    """Memory and time against the number of clients."""
    rows = [
        [
            f"{row['clients']:,}", row["engine"], f"{row['per_round']['seconds']:.1f}",
            f"{row['per_round']['cpu']:.1f}",
            f"{1000 * row['per_round']['cpu'] / row['clients_per_round']:.0f}", f"{row['peak_mb']:,.0f}",
            f"{row['ledger_up'] / 1e6:.2f}", f"{row['ledger_down'] / 1e6:.2f}",
        ]
        for row in part["rows"]
    ]  # fmt: skip
    head = ["clients", "engine", "s a round", "CPU s", "CPU ms a client", "peak MB", "MB up", "MB down"]
    return markdown_table(head, rows)


def day(part: dict[str, Any]) -> str:
    """What so many clients a day, each once, cost the server."""
    (row,) = part["rows"]
    k, spent = row["clients_per_round"], row["per_round"]
    up = row["ledger_up"] / k
    down = {"up to date": row["ledger_down"] / k, "new, by snapshot": row["snapshot_bytes"]}
    decode = row["seconds"]["decode"] / k
    carry = spent["cpu superlink"] / k
    rows = []
    for clients in CROWDS:
        cells = [f"{clients:,}", f"{clients * up / 1e9:,.1f}", _rate(clients * up)]
        cells += [f"{clients * each / 1e9:,.1f} ({_rate(clients * each)})" for each in down.values()]
        cells += [f"{clients * decode / 3600:,.2f}", f"{clients * carry / 3600:,.1f}"]
        rows.append(cells)
    head = ["clients a day", "GB up", "Mbit/s up"]
    head += [f"GB down, {name} (Mbit/s)" for name in down]
    return markdown_table([*head, "decode, CPU h", "SuperLink, CPU h"], rows)


def limit(part: dict[str, Any]) -> str:
    """What a connected node costs though it has nothing to do: beyond what the SuperLink does without any."""
    (row,) = part["rows"]
    idle, alone, nodes = row["idle"], row["alone"], row["idle"]["nodes"]
    seconds = nodes * idle["seconds"]
    fixed = alone["cpu superlink"] / alone["seconds"]
    cpu = (idle["cpu superlink"] / idle["seconds"] - fixed) / nodes
    rate = (idle["up"] + idle["down"]) / seconds
    rows = [["no node", f"{1000 * fixed:.2f} ms", "0 B"]]
    rows += [["each idle node, beyond that", f"{1000 * cpu:.2f} ms", f"{rate:,.0f} B"]]
    rows += [[f"{crowd:,} nodes, idle", f"{crowd * cpu:,.0f} s", f"{crowd * rate / 1e6:,.1f} MB"] for crowd in CROWDS]
    table = markdown_table(["each second", "CPU of the SuperLink", "on the network"], rows)
    most = (1 - fixed) / cpu
    return f"{table}\n\nOne SuperLink process, which uses one core, is busy with {most:,.0f} nodes that do nothing."


def _rate(sent: float) -> str:
    return f"{8 * sent / DAY / 1e6:,.1f}"
