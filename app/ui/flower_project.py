"""A run as a Flower project: the app of this repository, with the run's settings in its pyproject.toml."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path

from deltamask.config import RunConfig

APP = Path(__file__).resolve().parents[2] / "flower_app"
ABOUT = """\
# {name} on Flower

The run's settings stand in `pyproject.toml`. Server and nodes need the same version of `deltamask`:

```
pip install -e /path/to/deltamask-explorer
pip install "flwr[simulation]>=1.41"
flwr run . --run-config 'registered=false'      # all clients in Flower's simulation, on this machine
```

The run folder comes to `runs/`, where the dashboard shows it; `--run-config 'out="/absolute/path"'` puts it elsewhere.
On nodes of your own a client's node is the one whose key was registered as its own:

```
flwr supernode register node.pub CONNECTION --name client-0
flower-supernode --superlink HOST:PORT --root-certificates ca.crt --auth-supernode-private-key node.key \\
    --node-config 'folder="/absolute/path/of/its/shard"'
flwr run . CONNECTION
```
"""


def project(name: str, config: RunConfig) -> bytes:
    """A zip with one folder, `name`-flower: what `flwr run` takes."""
    folder, file = f"{name}-flower", io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{folder}/pyproject.toml", _settings(config))
        archive.writestr(f"{folder}/README.md", ABOUT.format(name=name))
        for source in sorted(APP.glob("deltamask_flower/*.py")):
            archive.write(source, f"{folder}/{source.relative_to(APP).as_posix()}")
    return file.getvalue()


def _settings(config: RunConfig) -> str:
    """The app's pyproject.toml, in which every field of RunConfig stands on a line of its own."""
    text = (APP / "pyproject.toml").read_text()
    for field, value in config.model_dump().items():
        line = re.compile(rf"^{field} = .*$", re.MULTILINE)
        if len(line.findall(text)) != 1:
            raise ValueError(f"{APP / 'pyproject.toml'} has no one line for {field}: run flower_app/settings.py")
        written = f"{field} = {json.dumps(value)}"
        text = line.sub(written.replace("\\", r"\\"), text)
    return text
