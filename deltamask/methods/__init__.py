"""Methods: one file each, reading like its paper. `methods` is the registry; importing this package fills it."""

from deltamask.methods import deepreduce, deltamask, fedmask, fedpm, finetune, linear_probe, lora
from deltamask.methods.base import Method, methods

get, names = methods.get, methods.names

__all__ = [
    "Method", "deepreduce", "deltamask", "fedmask", "fedpm", "finetune", "get", "linear_probe", "lora", "methods",
    "names",
]  # fmt: skip
