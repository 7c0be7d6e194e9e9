"""Fields of RunConfig: the classifier head of round 0, and the loss that clients train under."""

from __future__ import annotations

from typing import Literal

from deltamask.config.setting import Described, HeadName, setting

HeadSolver = Literal["lda", "ridge"]
LocalLoss = Literal["cross_entropy", "balanced"]


class HeadFields(Described):
    """Where the head comes from, and what keeps clients with few classes from pulling on it."""

    head_init: HeadName = setting(
        "probe",
        label="Head from", group="Method",
        about="Where the classifier head comes from in round 0. `probe`: training by the clients sampled first. The "
        "others follow by a formula from statistics that every client sends once: class means (`ncm`, `cof`), the "
        "Gram matrix of its features (`gram`, `gram-rp` of a random projection), or mean directions (`unit-means`, "
        "which can be private).",
        accuracy="where clients differ, it decides more than the method: `gram` is the same for every split",
        bits="once: a few kilobytes for means, a megabyte for the Gram matrix",
        registry="head",
    )  # fmt: skip
    head_solver: HeadSolver = setting(
        "lda",
        label="Head's formula", group="Method",
        about="Linear discriminant analysis or ridge regression.",
        accuracy="about the same",
        bits="none",
        reader="head",
    )  # fmt: skip
    head_projection: int = setting(
        512,
        ge=1, le=8192,
        label="Projected features q", group="Bits",
        about="q, the dimensions that the features are projected to.",
        accuracy="more dimensions come closer to `gram`",
        bits="in proportion to q²",
        reader="head",
    )  # fmt: skip
    head_means: int = setting(
        4,
        ge=1, le=16,
        label="Means a class", group="Bits",
        about="How many means of a class a client sends, each of a part of its samples.",
        accuracy="more means give a better covariance",
        bits="in proportion; and each mean is of fewer samples",
        reader="head",
    )  # fmt: skip
    head_min_samples: int = setting(
        2,
        ge=1, le=1000,
        label="Samples in a mean", group="Method",
        about="A client sends nothing of a class of which it has fewer samples: the mean of one sample is that sample. "
        "Larger hides more; with 1 the head is the same bit for bit however the samples are split.",
        accuracy="larger leaves rare classes of small clients out",
        bits="larger: slightly fewer",
        reader="head",
    )  # fmt: skip
    head_fraction_bits: int = setting(
        4,
        ge=0, le=14,
        label="Bits after the point", group="Bits",
        about="Features are rounded to multiples of 2^-this before they are summed, so that sums are exact. Raise it "
        "for a network whose features are small.",
        accuracy="none while a step is below a feature's spread",
        bits="one a mean's entry and two a product's for each more",
        reader="head",
    )  # fmt: skip
    head_temperature: float = setting(
        0.0,
        ge=0, le=1000,
        label="Head's temperature", group="Training",
        about="Factor on the logits of a head that follows from statistics. 0: the one with the least loss on the "
        "clients' training samples, for which each is sent the head and answers with 240 bytes.",
        accuracy="of the head none; it sets how hard training pulls",
        bits="0 costs one more head down in round 0",
        reader="head",
    )  # fmt: skip
    head_refit: int = setting(
        0,
        ge=0, le=10_000,
        label="Head again, every", group="Method",
        about="R: in every R-th round and in the last, all clients send statistics of the network as it is then, and "
        "the head follows from them anew. 0: never. Read with a head from statistics.",
        accuracy="it fits what the network has become",
        bits="as many as the head's first round, each time",
        reader="head",
    )  # fmt: skip
    local_loss: LocalLoss = setting(
        "cross_entropy",
        label="Local loss", group="Training",
        about="`balanced`: logits + τ·log of the client's own label shares (balanced softmax), so that a client does "
        "not learn to expect its own classes.",
        accuracy="balanced keeps clients with few classes from drifting apart",
        bits="none of its own; less drift, fewer flips",
    )  # fmt: skip
    balance_tau: float = setting(
        1.0,
        ge=0, le=10,
        label="Balance τ", group="Training",
        about="τ, how much of the label shares' logarithm is added; read by `balanced`.",
        accuracy="0 is plain cross-entropy, 1 removes the shares exactly",
        bits="none",
    )  # fmt: skip
