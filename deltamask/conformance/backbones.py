"""What must hold for a backbone whose weights are here: it can be cut, and its tail has weights to mask."""

from __future__ import annotations

from collections.abc import Callable

from deltamask.backbones import BackboneSpec
from deltamask.codecs.conformance import Broken

SIZE = 224  # pixels: a multiple of every patch that is common, 14, 16 and 32


def it_says_what_it_is(spec: BackboneSpec) -> None:
    """A licence and a size."""
    if not spec.license.strip() or spec.size_bytes < 0:
        raise Broken("license is a text for people, size_bytes is not negative")


def it_can_be_cut_after_one_block_and_after_two(spec: BackboneSpec) -> None:
    """More masked blocks: more weights in the tail, the same features at its end; no gradients anywhere."""
    import torch

    from deltamask.backbones.split import Tail

    if spec.lacks("pretrained"):
        raise Broken(f"its weights are not here: {spec.how_to_get}")
    sizes = []
    for blocks in (1, 2):
        backbone = spec.build(blocks, "pretrained", SIZE)
        if any(p.requires_grad for part in (backbone.trunk, backbone.tail) for p in part.parameters()):
            raise Broken("trunk and tail come frozen: `freeze` does that")
        tail = Tail(backbone.tail)
        sizes.append(tail.d)
        if backbone.tokenize is None:
            with torch.inference_mode():
                pooled = tail(backbone.trunk(torch.zeros(2, 3, SIZE, SIZE)))
            if tuple(pooled.shape) != (2, backbone.num_features) or not torch.isfinite(pooled).all():
                raise Broken(f"the tail's output has shape {tuple(pooled.shape)}, not (2, {backbone.num_features})")
    if not 0 < sizes[0] < sizes[1]:
        raise Broken(f"one block has {sizes[0]} weights to mask, two have {sizes[1]}")


LAWS: dict[str, Callable[[BackboneSpec], None]] = {
    law.__name__.replace("_", " "): law for law in (it_says_what_it_is, it_can_be_cut_after_one_block_and_after_two)
}
