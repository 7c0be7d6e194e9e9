"""A whole federation on this machine: one SuperLink and some SuperNodes on loopback, each with processes of its own.

home/certificates/   ca.crt, server.crt, server.key
home/nodes/0/        shard/, node.key, node.pub, cache/ and what the node remembers
home/*.log           what each process says
"""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from deltamask.cli.app import free_port
from deltamask.config import RunConfig
from deltamask_flower.keys import make_certificates, make_node_keys
from deltamask_flower.shard import Shard, split

APP = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
CONNECTION = "loopback"
RESTART = 5.0  # seconds after which a node that has ended is started again, as a service manager waits
ACTIVATED = "Activated node_id="  # what the SuperLink says of a node that it lets in
MARK = "DELTAMASK_FEDERATION"  # in the environment of every process of a federation: whose it is
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",  # seconds; Flower's 1 s is most of a short round
    "OMP_NUM_THREADS": "1",  # the order of sums, and so a mask's last bits, depend on the number of threads
}


class FederationError(RuntimeError):
    """A process did not do what it should; the message says which, and quotes the end of its log."""


def wait_for(what: str, ready: Callable[[], bool], seconds: float, every: float = 0.1) -> None:
    """Return when `ready`; FederationError after `seconds`."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise FederationError(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)


@dataclass
class Federation:
    """Processes with a lifetime: a context manager, which leaves none behind.

    simulation: no SuperNodes; the SuperLink plays them itself, on Ray. app: the Flower app to run. environment: what
    every process gets on top of ours. relay: the port that nodes are told to connect to instead of the SuperLink's.
    show: called with each command before it starts.
    """

    home: Path
    simulation: bool = False
    app: Path = APP
    environment: Mapping[str, str] = field(default_factory=dict)
    relay: int | None = None
    show: Callable[[str], None] = lambda command: None
    port: int = field(default_factory=free_port)
    run: str = ""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __enter__(self) -> Federation:
        try:
            make_certificates(self.home / "certificates", [HOST, "localhost"])
            (self.home / "flwr").mkdir(parents=True, exist_ok=True)
            (self.home / "flwr" / "config.toml").write_text(
                f'[superlink]\ndefault = "{CONNECTION}"\n\n[superlink.{CONNECTION}]\naddress = "{HOST}:{self.port}"\n'
                f'root-certificates = "{self._certificate("ca.crt")}"\n'
            )
            self.start_superlink()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start_superlink(self) -> None:
        """Start it, also again after it was killed: what it knows of nodes lies in its database."""
        command = ["flower-superlink", "--host", HOST, "--port", str(self.port)]
        command += ["--ssl-certfile", self._certificate("server.crt"), "--ssl-keyfile", self._certificate("server.key")]
        command += ["--ssl-ca-certfile", self._certificate("ca.crt"), "--disable-runtime-dependency-installation"]
        command += ["--simulation"] if self.simulation else ["--enable-supernode-auth"]
        command += [] if self.simulation else ["--database", str(self.home / "superlink.db")]
        self._start("superlink", command)
        self._wait("superlink", f"the SuperLink listens on port {self.port}", self._listening, 120)

    def _certificate(self, name: str) -> str:
        return str(self.home.resolve() / "certificates" / name)

    def _listening(self) -> bool:
        with suppress(OSError), socket.create_connection((HOST, self.port), timeout=1):
            return True
        return False

    def add_node(self, shard: Shard, place: int | None = None, **environment: str) -> None:
        """Give a node its data and its keys, register its key with the SuperLink, and start it.

        place: the client for whom its key is registered; by default the one whose data it holds.
        """
        client = shard.client if place is None else place
        folder = self.node_folder(client)
        shard.write(folder / "shard")
        make_node_keys(folder)
        self._flwr("supernode", "register", str(folder / "node.pub"), CONNECTION, "--name", f"client-{client}")
        self.start_node(client, **environment)

    def start_node(self, client: int, **environment: str) -> None:
        """Start a node that is registered, also again after it was killed."""
        folder = self.node_folder(client)
        command = [sys.executable, "-m", "deltamask_flower.warm"] if hasattr(os, "fork") else []
        command += ["flower-supernode", "--root-certificates", self._certificate("ca.crt")]
        command += ["--superlink", f"{HOST}:{self.relay or self.port}", "--port", str(free_port())]
        command += ["--auth-supernode-private-key", str(folder / "node.key")]
        command += ["--node-config", f'folder="{folder}"']
        own = {"FLWR_HOME": str(folder / "flwr"), "DELTAMASK_CACHE": str(folder / "cache"), **environment}
        self._start(_node(client), command, **own)

    def node_folder(self, client: int) -> Path:
        return self.home / "nodes" / str(client)

    def kill_node(self, client: int) -> None:
        """As a power cut does it: the SuperNode and whatever it has started, without a word."""
        self._kill(_node(client))

    def stop_node(self, client: int) -> None:
        """As a service manager does it: the SuperNode says goodbye, so that it is let in again at once."""
        process = self.processes[_node(client)]
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=60)
        self._kill(_node(client))

    def revive_node(self, client: int, seconds: float, **environment: str) -> None:
        """Start a node that has ended again and again, as a service manager would, until the SuperLink lets it in: one
        that did not say goodbye is refused, and its SuperNode ends, until two of its heartbeats were missed (a minute
        at most).
        """
        if _node(client) in self.processes:
            self._kill(_node(client))
        let_in = self.log("superlink").count(ACTIVATED)
        next_try = 0.0

        def back() -> bool:
            nonlocal next_try
            process = self.processes.get(_node(client))
            if process is not None and process.poll() is None:
                next_try = time.monotonic() + RESTART
            elif time.monotonic() >= next_try:
                self.start_node(client, **environment)
            return self.log("superlink").count(ACTIVATED) > let_in

        self._wait("superlink", f"node {client} is let in again", back, seconds)

    def kill_superlink(self) -> None:
        """The SuperLink and the ServerApp with it."""
        self._kill("superlink")

    def submit(self, config: RunConfig, out: Path, **settings: Any) -> None:
        """Start a run, or go on with the one in `out`. settings: the app's own, beside the fields of RunConfig."""
        values = {**config.model_dump(), "out": str(out.resolve()), "registered": not self.simulation, **settings}
        path = self.home / "run.toml"
        path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
        more = []
        if self.simulation:
            more = ["--federation-config", f"num-supernodes={config.clients} client-resources-num-cpus=1"]
        said = self._flwr("run", str(self.app), CONNECTION, "--run-config", str(path), *more)
        self.run = re.findall(r"started run (\d+)", said)[0]

    def _flwr(self, *arguments: str) -> str:
        """What the command prints. FederationError if it fails."""
        self.show(shlex.join(["flwr", *arguments]))
        done = subprocess.run(
            ["flwr", *arguments], env=self._environment(), capture_output=True, text=True, timeout=180
        )
        if done.returncode:
            raise FederationError(f"flwr {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def _environment(self, **more: str) -> dict[str, str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # the programs beside this one
        home = {"FLWR_HOME": str(self.home / "flwr")}
        return {**os.environ, **QUIET, "PATH": path, **home, **self.environment, **more}

    def _start(self, name: str, command: list[str], **environment: str) -> None:
        self.show(shlex.join(command))
        everything = self._environment(**environment, **{MARK: self._mark(name)})
        with open(self.home / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                command,
                env=everything, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.home,
                start_new_session=True,
            )  # fmt: skip

    def wait(self, what: str, ready: Callable[[], bool], seconds: float) -> None:
        """Return when `ready`; FederationError after `seconds` or when the SuperLink is gone."""
        self._wait("superlink", what, ready, seconds)

    def _wait(self, name: str, what: str, ready: Callable[[], bool], seconds: float) -> None:
        def ready_or_dead() -> bool:
            if (status := self.processes[name].poll()) is not None:
                raise FederationError(f"{name} ended with status {status}")
            return ready()

        try:
            wait_for(what, ready_or_dead, seconds)
        except FederationError as error:
            with suppress(FederationError, subprocess.TimeoutExpired):
                self.keep_run_log()
            raise FederationError(f"{error}\n{self.log(name)[-3000:]}\n{self.log('run')[-3000:]}") from None

    def log(self, name: str) -> str:
        """What a process has said so far: `superlink`, `node-0`, `node-1` …, or `run`, once its log is kept."""
        path = self.home / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def keep_run_log(self) -> None:
        """What the ServerApp has said, into run.log."""
        if self.run:
            (self.home / "run.log").write_text(self._flwr("log", self.run, CONNECTION, "--show"))

    def _kill(self, *names: str) -> None:
        processes = [self.processes.pop(name) for name in names]
        while family := [one for name, members in self.members().items() if name in names for one in members]:
            for member in family:
                with suppress(psutil.Error):
                    member.kill()
            psutil.wait_procs(family, timeout=5)
        for process in processes:
            process.wait(timeout=30)

    def members(self) -> dict[str, list[psutil.Process]]:
        """All that each process has started, also what has left its session: they have inherited its mark."""
        members: dict[str, list[psutil.Process]] = {}
        mark = self._mark("")
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                whose = process.environ().get(MARK, "")
                if whose.startswith(mark) and process.status() != psutil.STATUS_ZOMBIE:
                    members.setdefault(whose.removeprefix(mark), []).append(process)
        return members

    def _mark(self, name: str) -> str:
        return f"{self.home.resolve()}:{name}"

    def close(self) -> None:
        """End every process."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
        self._kill(*self.processes)


def start_nodes(federation: Federation, config: RunConfig) -> None:
    """One node for each client of `config`, each with its own shard."""
    for shard in split(config):
        federation.add_node(shard)


def _node(client: int) -> str:
    return f"node-{client}"
