"""What runs are called in legends and tables."""

from __future__ import annotations

from deltamask.config import RunConfig
from deltamask.runs.reader import Run

METHOD_LABELS = {
    "deltamask": "DeltaMask",
    "fedpm": "FedPM",
    "deepreduce": "DeepReduce",
    "fedmask": "FedMask",
    "finetune": "Fine-tuning",
    "lora": "LoRA",
    "eden": "EDEN",
    "drive": "DRIVE",
    "qsgd": "QSGD",
    "signsgd": "signSGD",
    "linear-probe": "Linear probe",
}
VARIANT_LABELS = {
    ("shared", "beta"): "paper: shared u, Beta",
    ("per_client", "beta"): "per-client u, Beta",
    ("per_client", "unbiased"): "per-client u, unbiased",
    ("shared", "unbiased"): "shared u, unbiased",
}


def label(run: Run) -> str:
    """A run's name in legends: method and variant, without the folder's hash."""
    return config_label(run.config)


def config_label(config: RunConfig) -> str:
    """Method, variant and whatever else of the coding differs from the default."""
    name = METHOD_LABELS.get(config.method, config.method)
    parts = []
    if config.method == "deltamask":
        parts.append(VARIANT_LABELS[config.noise, config.aggregation])
        if config.codec != RunConfig.model_fields["codec"].default:
            parts.append(config.codec)
        if config.kappa < 1 or config.kappa_schedule != "constant":
            parts.append(f"κ {config.kappa:g}{' cosine' if config.kappa_schedule == 'cosine' else ''}")
        if config.adam_eps > RunConfig.model_fields["adam_eps"].default:
            parts.append(f"ε {config.adam_eps:g}")
    if config.method in ("finetune", "lora"):
        parts.append(config.update_codec)
    if config.weights == "random":
        parts.append("random weights")
    return f"{name} ({', '.join(parts)})" if parts else name
