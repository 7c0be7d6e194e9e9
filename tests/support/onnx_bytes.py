"""An ONNX file of a tiny network, written byte by byte, in the layout in which PyTorch exports DINOv2's encoder."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

FLOAT, INT64 = 1, 7


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number: int, value: int | bytes) -> bytes:
    """A number, or bytes with their length before them."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(name: str, values: np.ndarray, kind: int = FLOAT, *, raw: bool = True, packed: bool = False) -> bytes:
    """A TensorProto. raw: the values as bytes, else as `float_data`. packed: the dimensions in one field."""
    dims = field(1, b"".join(map(varint, values.shape))) if packed else b"".join(field(1, n) for n in values.shape)
    return dims + field(2, kind) + field(8, name.encode()) + field(9 if raw else 4, values.tobytes())


def node(operation: str, name: str, *inputs: str) -> bytes:
    return b"".join(field(1, one.encode()) for one in inputs) + field(3, name.encode()) + field(4, operation.encode())


def model(nodes: list[bytes], tensors: list[bytes]) -> bytes:
    """A ModelProto: version, who wrote it, the graph."""
    graph = b"".join(field(1, one) for one in nodes) + field(2, b"main_graph") + b"".join(field(5, t) for t in tensors)
    return field(1, 7) + field(2, b"pytorch") + field(7, graph) + field(8, field(2, 14))


def exported(state: Mapping[str, Tensor], leave_out: str = "") -> bytes:
    """timm's tensors of a ViT as the exporter leaves them, and a decoder that nobody asked for.

    Weights of linear layers become factors (in, out) with numbers for names, keys before values before queries.
    leave_out: a tensor or a node that is missing.
    """
    tensors: dict[str, np.ndarray] = {"decoder.upconv1.weight": np.ones((2, 3), np.float32)}
    nodes = {"Softmax": node("Softmax", "/backbone/Softmax", "x")}

    def linear(layer: str, weight: Tensor, bias: Tensor) -> None:
        number = f"onnx::MatMul_{1900 + len(nodes)}"
        tensors[f"{layer}.bias"], tensors[number] = bias.numpy(), np.ascontiguousarray(weight.numpy().T)
        name = f"/{layer.replace('.', '/').replace('layer/', 'layer.')}/MatMul"
        nodes[name] = node("MatMul", name, "x", number)

    tensors["onnx::Concat_1"] = state["pos_embed"][:, :1].numpy()
    tensors["onnx::Reshape_2"] = np.ascontiguousarray(state["pos_embed"][:, 1:].numpy())
    for theirs, ours in (
        ("embeddings.cls_token", "cls_token"), ("layernorm.weight", "norm.weight"), ("layernorm.bias", "norm.bias"),
        ("embeddings.patch_embeddings.projection.weight", "patch_embed.proj.weight"),
        ("embeddings.patch_embeddings.projection.bias", "patch_embed.proj.bias"),
    ):  # fmt: skip
        tensors[f"backbone.{theirs}"] = state[ours].numpy()
    at = 0
    while f"blocks.{at}.norm1.weight" in state:
        layer, block = f"backbone.encoder.layer.{at}", f"blocks.{at}"
        parts = [state[f"{block}.attn.qkv.{kind}"].chunk(3) for kind in ("weight", "bias")]
        for one, place in (("key", 1), ("value", 2), ("query", 0)):
            linear(f"{layer}.attention.attention.{one}", parts[0][place], parts[1][place])
        for theirs, ours in (("attention.output.dense", "attn.proj"), ("mlp.fc1", "mlp.fc1"), ("mlp.fc2", "mlp.fc2")):
            linear(f"{layer}.{theirs}", state[f"{block}.{ours}.weight"], state[f"{block}.{ours}.bias"])
        for number in "12":
            tensors[f"{layer}.layer_scale{number}.lambda1"] = state[f"{block}.ls{number}.gamma"].numpy()
            for kind in ("weight", "bias"):
                tensors[f"{layer}.norm{number}.{kind}"] = state[f"{block}.norm{number}.{kind}"].numpy()
        at += 1
    tensors.pop(leave_out, None)
    nodes.pop(leave_out, None)
    return model([*nodes.values()], [tensor(name, values) for name, values in tensors.items()])
