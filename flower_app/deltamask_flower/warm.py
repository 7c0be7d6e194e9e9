"""A SuperNode that has imported everything before a message comes: `python -m deltamask_flower.warm flower-supernode …`

Flower starts a program for each message, `flwr-clientapp`, which imports torch and Flower before it computes: seconds
of a core, for a round that may need less. Here one process imports them once and forks for each message. It puts a
program of the same name first in the SuperNode's PATH, which asks it for a fork and waits for its end. If nobody is
there to be asked, that program becomes Flower's own.

Needs fork and UNIX sockets: Linux or macOS. A fork has all that was imported, and nothing of an earlier message.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

import numpy as np

PROGRAM = "flwr-clientapp"
IMPORTED = (
    "torch", "numba", "timm", "flwr.supernode.cli", "deltamask.methods", "deltamask.simulation.loop",
    "deltamask.task.task", "deltamask.runs.folder", "httpcore",
)  # fmt: skip
PATIENCE = 10.0  # seconds that a program may take to say what it was called with
LONGEST = 1 << 16  # bytes of that
ASK = """
import json, os, socket, sys
place, real = sys.argv[1:3]
asked = socket.socket(socket.AF_UNIX)
try:
    asked.connect(place)
except OSError:
    os.execv(real, [real, *sys.argv[3:]])
asked.sendall(json.dumps(sys.argv[3:]).encode())
asked.shutdown(socket.SHUT_WR)
sys.exit(asked.recv(1) != b"")  # nothing comes: the connection ends with the fork
"""


def main(command: Sequence[str]) -> int:
    """Run `command`, a SuperNode, and answer its messages with forks. Its exit status."""
    real = shutil.which(PROGRAM)
    if not command or real is None:
        print(__doc__ if real else f"{PROGRAM} is not in PATH: install Flower (`pip install -e '.[flower]'`)")
        return 2
    meant_for_the_node = _Signals()
    owner, folder = os.getpid(), Path(tempfile.mkdtemp(prefix="deltamask-"))  # only we may enter it
    try:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(folder / "ask"))
        listener.listen(64)
        _write_program(folder, real)
        path = os.pathsep.join([str(folder), os.environ.get("PATH", "")])
        node = subprocess.Popen(command, env={**os.environ, "PATH": path})
        meant_for_the_node.pass_on(node)
        _prepare(node)
        return _serve(listener, node)
    finally:
        if os.getpid() == owner:  # a fork leaves through here as well
            shutil.rmtree(folder, ignore_errors=True)


def _prepare(node: subprocess.Popen[bytes]) -> None:
    """Import, while the SuperNode starts and connects; who asks meanwhile waits. If the node has ended, nobody will."""
    for name in IMPORTED:
        if node.poll() is not None:
            return
        importlib.import_module(name)
    from deltamask.codecs import CodecContext, entropy
    from deltamask.masking.masks import to_fixed
    from deltamask.masking.noise import PublicNoise

    # Numba sets itself up at its first kernel: most of a second, which no fork should spend again.
    context = CodecContext(0, 0, to_fixed(np.full(64, 0.5)), PublicNoise(0, 0, None))
    entropy.entropy_side(np.arange(2, dtype=np.uint32), context)


def _write_program(folder: Path, real: str) -> None:
    (folder / "ask.py").write_text(ASK)
    words = [sys.executable, "-I", "-S", str(folder / "ask.py"), str(folder / "ask"), real]
    program = folder / PROGRAM
    program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    program.chmod(0o700)


class _Signals:
    """What a service manager tells us is meant for the SuperNode: kept from here on, passed on once there is one."""

    def __init__(self) -> None:
        self._node: subprocess.Popen[bytes] | None = None
        self._kept: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._tell)

    def pass_on(self, node: subprocess.Popen[bytes]) -> None:
        self._node = node  # first: from now on nothing more is kept
        for number in self._kept:
            node.send_signal(number)

    def _tell(self, number: int, _: FrameType | None) -> None:
        if self._node is None:
            self._kept.append(number)
        else:
            self._node.send_signal(number)


def _serve(listener: socket.socket, node: subprocess.Popen[bytes]) -> int:
    forks: set[int] = set()
    while (status := node.poll()) is None:
        forks = {pid for pid in forks if os.waitpid(pid, os.WNOHANG)[0] == 0}
        if not select.select([listener], [], [], 0.5)[0]:
            continue
        connection, _ = listener.accept()
        with connection:
            if arguments := _arguments(connection):
                pid = os.fork()
                if pid == 0:  # the fork holds the connection until it ends, and that is how the program knows
                    listener.close()
                    _become_client_app(arguments, os.dup(connection.fileno()))
                forks.add(pid)
    return status if status >= 0 else 128 - status  # ended by a signal: as a shell says it


def _arguments(connection: socket.socket) -> list[str] | None:
    connection.settimeout(PATIENCE)
    said = b""
    with suppress(OSError, ValueError):
        while chunk := connection.recv(LONGEST):
            said += chunk
            if len(said) > LONGEST:
                return None
        arguments: list[str] = json.loads(said)
        return arguments
    return None


def _become_client_app(arguments: list[str], held: int) -> None:
    """What Flower's program does, in a process that has imported it. Does not return. held: open until it ends."""
    os.set_inheritable(held, False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    package = __package__ or "deltamask_flower"
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]  # the app that came with the run is to be imported, not this copy of it
    sys.argv = [PROGRAM, *arguments]
    from flwr.supernode.cli import flwr_clientapp

    flwr_clientapp()
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
