"""Gradients sample by sample, clipped and added up: what differential privacy needs instead of a mean.

A linear layer's or convolution's weight gradient for one sample is the product of what went in and the gradient of what
came out, both of which one forward and one backward pass over the batch give for all its samples. Where what is trained
has a factor of its own for each weight, no sample's whole gradient is ever held: its length is added up layer by layer,
and the clipped sum is one product a layer, with each sample's part scaled (Lee & Kifer, arXiv 2009.03106).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from deltamask.backbones import BackboneError
from deltamask.backbones.split import Tail
from deltamask.masking.layers import Layer
from deltamask.training.losses import Loss

NUMBERS = 1 << 26  # gradients in memory at a time: so many samples together, at least one
CACHED = 1 << 18  # gradients of a layer at a time: what stays in a processor's cache

# From the gradients of the tail's weights to those of what is trained: (d,) factors, or a map (n, d) → (n, p).
Through = Tensor | Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Clipped:
    """Σ over a batch's samples of gradients that are each at most C long. trained: (p,). head: (classes · (features +
    1),), empty where the head is not trained. loss: Σ of the samples' losses."""

    trained: Tensor
    head: Tensor
    loss: float


class Recorded:
    """Keeps what goes into and comes out of the tail's masked layers, while it is in a `with` block."""

    def __init__(self, tail: Tail) -> None:
        self._parts = dict(tail.module.named_modules())
        self._layers = tail.layers
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.places: list[int] = []
        for layer in tail.layers:
            _check(layer.name, self._parts[layer.name])

    def __enter__(self) -> Recorded:
        self._hooks = [
            self._parts[layer.name].register_forward_hook(self._keep(number))
            for number, layer in enumerate(self._layers)
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _keep(self, number: int) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def hook(part: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
            self.inputs.append(given[0].detach())
            self.outputs.append(output)
            self.places.append(number)
            return output.clone()  # an activation may write over it

        return hook

    def _uses(self, of_outputs: tuple[Tensor, ...]) -> Iterator[tuple[Layer, nn.Module, list[tuple[Tensor, Tensor]]]]:
        """Each layer with (what went in, the gradient of what came out) of each of its uses."""
        for number in dict.fromkeys(self.places):
            layer = self._layers[number]
            uses = [
                (x.float(), g.float())
                for place, x, g in zip(self.places, self.inputs, of_outputs, strict=True)
                if place == number
            ]
            yield layer, self._parts[layer.name], uses

    def squares(self, samples: int, of_outputs: tuple[Tensor, ...], factor: Tensor) -> Tensor:
        """(samples,) squared length of each sample's gradient times factor (d,)."""
        found = factor.new_zeros(samples)
        for layer, part, uses in self._uses(of_outputs):
            own = factor[layer.start : layer.stop].square()
            step = max(1, CACHED // len(own))
            for start in range(0, samples, step):
                some = slice(start, min(samples, start + step))
                each = _layer_gradients_of(part, uses, samples, some).reshape(-1, len(own))
                found[some] += each.mul_(each) @ own
        return found

    def weighted(self, samples: int, of_outputs: tuple[Tensor, ...], scales: Tensor, kept: Tensor, d: int) -> Tensor:
        """(d,) Σ of the kept samples' gradients, each times its scale."""
        found = scales.new_zeros(d)
        for layer, part, uses in self._uses(of_outputs):
            for x, g in uses:
                rows = len(x) // samples
                shape = (-1, *(1,) * (x.dim() - 1))
                scale, keep = scales.repeat_interleave(rows).view(shape), kept.repeat_interleave(rows).view(shape)
                x, g = torch.where(keep, x, 0.0), torch.where(keep, g * scale, 0.0)
                found[layer.start : layer.stop] += summed_gradient(part, x, g).reshape(-1)
        return found

    def gradients(self, samples: int, of_outputs: tuple[Tensor, ...], d: int) -> Tensor:
        """(samples, d) the tail's gradients, sample by sample."""
        found = of_outputs[0].new_zeros((samples, d), dtype=torch.float32)
        for number, x, g in zip(self.places, self.inputs, of_outputs, strict=True):
            layer = self._layers[number]
            each = layer_gradients(self._parts[layer.name], x.float(), g.float(), samples)
            found[:, layer.start : layer.stop] += each.reshape(samples, -1)
        return found


def _check(name: str, part: nn.Module) -> None:
    """BackboneError for a layer whose gradients this file does not know."""
    if isinstance(part, nn.Conv2d) and part.padding_mode != "zeros":
        raise BackboneError(f"dp: {name} pads with {part.padding_mode}, whose gradients by sample are not known")
    own = type(part).forward not in (nn.Linear.forward, nn.Conv2d.forward)
    if own and type(part).__name__ != "Conv2dSame":
        raise BackboneError(f"dp: {name} is a {type(part).__name__}, whose gradients by sample are not known")


def layer_gradients(part: nn.Module, x: Tensor, g: Tensor, samples: int) -> Tensor:
    """(samples, weight's shape) for one layer. x: what went in; g: the gradient of what came out.

    Both may have several rows a sample (windows, patches), the samples being the slowest of their first axis.
    """
    if isinstance(part, nn.Linear):
        x, g = x.reshape(samples, -1, part.in_features), g.reshape(samples, -1, part.out_features)
        return g.transpose(1, 2) @ x
    assert isinstance(part, nn.Conv2d)
    x, pointwise = _padded(part, x), part.kernel_size == (1, 1) and part.stride == (1, 1)
    # (rows, in · kh · kw, positions)
    columns = x.flatten(2) if pointwise else functional.unfold(x, part.kernel_size, part.dilation, 0, part.stride)
    groups = part.groups
    columns = columns.reshape(len(x), groups, -1, columns.shape[-1])
    g = g.reshape(len(x), groups, part.out_channels // groups, -1)
    each = g @ columns.transpose(2, 3)  # (rows, groups, out / groups, in / groups · kh · kw)
    each = each.reshape(samples, -1, *part.weight.shape)
    return each[:, 0] if each.shape[1] == 1 else each.sum(1)


def summed_gradient(part: nn.Module, x: Tensor, g: Tensor) -> Tensor:
    """The weight's gradient of all rows together. x, g: as in `layer_gradients`."""
    if isinstance(part, nn.Linear):
        return g.reshape(-1, part.out_features).T @ x.reshape(-1, part.in_features)
    assert isinstance(part, nn.Conv2d)
    return conv2d_weight(_padded(part, x), list(part.weight.shape), g, part.stride, 0, part.dilation, part.groups)


def _layer_gradients_of(part: nn.Module, uses: list[tuple[Tensor, Tensor]], samples: int, some: slice) -> Tensor:
    """`layer_gradients` of some of the samples, over all uses of the layer."""
    found = []
    for x, g in uses:
        rows = len(x) // samples
        of = slice(some.start * rows, some.stop * rows)
        found.append(layer_gradients(part, x[of], g[of], some.stop - some.start))
    return found[0] if len(found) == 1 else torch.stack(found).sum(0)


def _padded(part: nn.Conv2d, x: Tensor) -> Tensor:
    if type(part).__name__ == "Conv2dSame":
        from timm.layers import pad_same

        return pad_same(x, list(part.kernel_size), list(part.stride), list(part.dilation))
    return functional.pad(x, part._reversed_padding_repeated_twice)


def clipped(
    tail: Tail, features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, loss: Loss, limit: float,
    through: Through, *, head: bool,
) -> Clipped:  # fmt: skip
    """The clipped gradients of a batch, added up.

    features: (n, …) the trunk's, n ≥ 1; labels: (n,); loss: a mean over samples; limit: C, of the norm over all that is
    trained together. through: see `Through`. head: it is trained as well.
    Gradients that are not finite count as none.
    """
    size = max(1, NUMBERS // tail.d)
    parts = [
        _clipped(tail, x, y, weight, bias, loss, limit, through, head=head)
        for x, y in zip(features.split(size), labels.split(size), strict=True)
    ]
    return Clipped(
        torch.stack([part.trained for part in parts]).sum(0),
        torch.stack([part.head for part in parts]).sum(0),
        sum(part.loss for part in parts),
    )


def _clipped(
    tail: Tail, features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, loss: Loss, limit: float,
    through: Through, *, head: bool,
) -> Clipped:  # fmt: skip
    count = len(features)
    with Recorded(tail) as recorded:
        pooled = tail.learning(features)
        logits = functional.linear(pooled, weight.detach(), bias.detach())
        total = loss(logits, labels) * count  # a sum, so that a sample's gradient does not depend on the others
        *of_outputs, of_logits = torch.autograd.grad(total, [*recorded.outputs, logits])
    outputs = tuple(of_outputs)
    with torch.no_grad():
        if isinstance(through, Tensor):
            squares = recorded.squares(count, outputs, through)
            kept, factors = _factors(squares, of_logits, pooled if head else None, limit)
            trained = recorded.weighted(count, outputs, factors, kept, tail.d).mul_(through)
        else:
            each = through(recorded.gradients(count, outputs, tail.d))
            kept, factors = _factors(each.square().sum(1), of_logits, pooled if head else None, limit)
            trained = factors @ torch.where(kept[:, None], each, 0.0)
        return Clipped(
            trained,
            _head_sum(factors, of_logits, pooled, kept) if head else factors.new_zeros(0),
            float(total),
        )


def clipped_head(pooled: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, loss: Loss, limit: float) -> Clipped:
    """The same of the head alone, on the network's output. pooled: (n, features)."""
    logits = functional.linear(pooled, weight.detach(), bias.detach()).requires_grad_(True)
    total = loss(logits, labels) * len(pooled)
    (of_logits,) = torch.autograd.grad(total, [logits])
    with torch.no_grad():
        kept, factors = _factors(pooled.new_zeros(len(pooled)), of_logits, pooled, limit)
        return Clipped(pooled.new_zeros(0), _head_sum(factors, of_logits, pooled, kept), float(total))


def _factors(squares: Tensor, of_logits: Tensor, pooled: Tensor | None, limit: float) -> tuple[Tensor, Tensor]:
    """(which samples' gradients are finite (n,), what each is multiplied by (n,)). squares: (n,) of their lengths.

    The head's gradient is g ⊗ (x, 1), whose norm is |g|·√(|x|² + 1).
    """
    if pooled is not None:
        squares = squares + of_logits.square().sum(1) * (pooled.square().sum(1) + 1)
    kept = torch.isfinite(squares)
    return kept, torch.where(kept, (limit / squares.sqrt()).clamp(max=1), 0.0)


def _head_sum(factors: Tensor, of_logits: Tensor, pooled: Tensor, kept: Tensor) -> Tensor:
    """Σ factor · g ⊗ (x, 1), in the order of a flat head."""
    scaled = torch.where(kept[:, None], of_logits * factors[:, None], 0.0)
    x = torch.where(kept[:, None], pooled, 0.0)
    return torch.cat([(scaled.T @ x).reshape(-1), scaled.sum(0)])
