"""Write RunConfig's fields with their defaults into pyproject.toml, where Flower looks for what a run may set.

python flower_app/settings.py
"""

from __future__ import annotations

import json
from pathlib import Path

from deltamask.config import RunConfig

PATH = Path(__file__).resolve().parent / "pyproject.toml"
SECTION = "[tool.flwr.app.config]\n"
OWN = {
    "out": ("", "run folder; empty: a new one below runs/. One that holds a run of the same config goes on"),
    "wait": (600.0, "seconds to wait for every client's node to connect; then the run goes on without those that lack"),
    "least": (0, "clients that must have a node for the run to go on; 0: more than half of them"),
    "timeout": (3600.0, "seconds that a round waits for its clients; it goes on without those that are late"),
    "registered": (True, "a client's node is the one registered with --name client-K; false: the first that says so"),
}


def section() -> str:
    """The table, as TOML: its values are strings, numbers and booleans, which JSON writes alike."""
    lines = [f"{name} = {json.dumps(value)}  # {meaning}\n" for name, (value, meaning) in OWN.items()]
    lines += ["\n# RunConfig's fields; `deltamask run --help` explains them\n"]
    lines += [f"{name} = {json.dumps(field.default)}\n" for name, field in RunConfig.model_fields.items()]
    return SECTION + "".join(lines)


if __name__ == "__main__":
    before = PATH.read_text().partition(SECTION)[0]
    PATH.write_text(before + section())
