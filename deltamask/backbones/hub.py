"""The Hugging Face hub: where weights lie there, and in its local cache. Looks at no network."""

from __future__ import annotations

from pathlib import Path

HUB = "huggingface.co"
HUB_FILE = "model.safetensors"


def hub_address(repository: str) -> str:
    """Where a browser finds the weights."""
    return f"https://{HUB}/{repository}/resolve/main/{HUB_FILE}"


def hub_file(repository: str) -> Path | None:
    """The weights in the hub's local cache, None where they are not."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, HUB_FILE)
    return Path(found) if isinstance(found, str) else None
