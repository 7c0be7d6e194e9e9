"""What a run's data are: enough to tell, when it goes on, whether they are still the same, and in what they differ."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from deltamask.datasets.image_files import ImageFiles
from deltamask.datasets.spec import ImageDataset

NAMED = 3  # classes that a sentence lists


def identity(data: ImageDataset) -> dict[str, Any]:
    """Plain JSON. fingerprint: changes with any sample or label. content: the same for a copy of image files, whose
    times of change are other ones. No image is read; of arrays, every byte."""
    content = data.fingerprint
    if isinstance(data.train_x, ImageFiles) and isinstance(data.test_x, ImageFiles):
        digest = hashlib.sha256(f"{data.train_x.content}{data.test_x.content}".encode())
        for labels in (data.train_y, data.test_y):
            digest.update(labels.tobytes())
        content = digest.hexdigest()[:16]
    return {
        "name": data.name,
        "fingerprint": data.fingerprint,
        "content": content,
        "classes": list(data.classes),
        "train_samples": len(data.train_y),
        "test_samples": len(data.test_y),
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In what two identities differ, in words; empty where they are the same. The name alone is no difference."""
    if before["fingerprint"] == now["fingerprint"] and before["classes"] == now["classes"]:
        return []
    lines = []
    if (old := before["classes"]) != (new := now["classes"]):
        lines.append(f"{len(new)} classes, {len(old)} when it began ({_changed(old, new)})")
    for split, word in (("train_samples", "training"), ("test_samples", "test")):
        if before[split] != now[split]:
            lines.append(f"{now[split]:,} {word} samples, {before[split]:,} when it began")
    if not lines and before["content"] != now["content"]:
        lines.append("as many samples as when it began, and others among them")
    return lines or ["the same files by name and size, changed since it began"]


def _changed(old: list[str], new: list[str]) -> str:
    parts = []
    for word, names in (("new", sorted(set(new) - set(old))), ("gone", sorted(set(old) - set(new)))):
        if names:
            parts.append(f"{word}: {', '.join(names[:NAMED])}{', …' if len(names) > NAMED else ''}")
    return "; ".join(parts) or "in another order"
