"""The Flower app of the tests: ours, with the tiny backbone, on nodes that fail when their folder's chaos.json says so.

chaos.json: {"<round>": "die" | "sleep" | "garble" | "repeat" | "infinite" | "shout", "hello": "boast" | "overdo"}; each
fault happens once.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import time
from pathlib import Path

from deltamask_flower import client_app as ours
from deltamask_flower import server_app, wire
from deltamask_flower.loopback import APP
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

import tests.support.tiny  # noqa: F401 - registers the backbone
from deltamask.runs.reader import read_records

client, server = ClientApp(), server_app.app


@client.query("hello")
def hello(message: Message, context: Context) -> Message:
    """What a node says of itself, with the lie that is planned for it: it holds all that the run has, in a reply of
    20 MB (`boast`), or more than that (`overdo`)."""
    reply = ours.hello(message, context)
    lie = _take(Path(str(context.node_config.get("folder", "/nowhere"))) / "chaos.json", "hello")
    if lie is not None:
        shard = reply.content.config_records[wire.SHARD]
        most = int(context.run_config["train_samples"])  # type: ignore[arg-type]
        classes = len(shard["label_counts"])  # type: ignore[arg-type]
        shard["label_counts"] = [most + (lie == "overdo"), *[0] * (classes - 1)]
    if lie == "boast":
        reply.content.config_records[wire.SETTINGS]["lost"] = "x" * 20_000_000
    return reply


@client.train()
def train(message: Message, context: Context) -> Message:
    """A round, with the fault that is planned for it."""
    folder = Path(str(context.node_config.get("folder", "/nowhere")))
    round = int(message.content.config_records[wire.SETTINGS]["round"])  # type: ignore[arg-type]
    fault = _take(folder / "chaos.json", str(round))
    if fault == "die":
        os.killpg(0, signal.SIGKILL)  # the SuperNode, its helpers and ourselves, as a power cut does
    if fault == "sleep":
        out = Path(str(context.run_config["out"]))
        while not any(record["round"] == round for record in read_records(out)):  # until the server has gone on
            time.sleep(0.2)
    reply = ours.train(message, context)
    if wire.PAYLOAD not in reply.content:
        return reply
    (payload,) = wire.unpack(reply.content)
    kept = folder / "last-payload"
    if fault == "garble":
        middle = len(payload) // 2
        reply.content[wire.PAYLOAD] = wire.pack([payload[:middle] + bytes(64) + payload[middle + 64 :]])
    if fault == "infinite":
        reply.content.metric_records[wire.REPORT]["flips"] = math.inf
    if fault == "shout":
        reply.content.config_records[wire.SETTINGS]["lost"] = "x" * 20_000_000
    if fault == "repeat":
        reply.content[wire.PAYLOAD] = wire.pack([kept.read_bytes()])
    if folder.is_dir():
        kept.write_bytes(payload)
    return reply


def _take(plan: Path, when: str) -> str | None:
    if not plan.exists():
        return None
    faults: dict[str, str] = json.loads(plan.read_text())
    fault = faults.pop(when, None)
    plan.write_text(json.dumps(faults))
    return fault


def write_app(folder: Path) -> Path:
    """A copy of the app whose components are those of this file."""
    shutil.copytree(APP, folder, ignore=shutil.ignore_patterns("__pycache__"))
    # Flower looks for assignments.
    components = "from tests.support import chaos\n\nserver = chaos.server\nclient = chaos.client\n"
    (folder / "deltamask_flower" / "components.py").write_text(components)
    project = folder / "pyproject.toml"
    text = project.read_text()
    for name, ours_is in (("server", "server_app:app"), ("client", "client_app:app")):
        assert ours_is in text
        text = text.replace(ours_is, f"components:{name}")
    project.write_text(text)
    return folder
