"""Fields of RunConfig: local training."""

from __future__ import annotations

from typing import Literal

from deltamask.config.setting import Described, setting

Schedule = Literal["constant", "cosine"]
Bases = Literal["gradient", "weights"]


class TrainingFields(Described):
    """Rounds, and what a client does in each."""

    rounds: int = setting(
        60,
        ge=1, le=10000,
        label="Rounds", group="Training",
        about="Federated rounds after the head's probing round (round 0).",
        accuracy="rises, then levels off",
        bits="the total grows with every round",
    )  # fmt: skip
    local_epochs: int = setting(
        1,
        ge=1, le=100,
        label="Local epochs E", group="Training",
        about="E, passes over its own data that a client makes each round.",
        accuracy="faster a round; with small α clients drift apart",
        bits="more flips a round, fewer rounds needed",
    )  # fmt: skip
    batch_size: int = setting(
        64,
        ge=1, le=4096,
        label="Batch size", group="Training",
        about="Local batch size.",
        accuracy="smaller: more, noisier steps",
        bits="more steps move more mask bits",
    )  # fmt: skip
    lr: float = setting(
        0.1,
        gt=0, le=10,
        label="Score step size", group="Training",
        about="Adam's step size on the scores. Larger moves more mask bits each round: faster, and more bits to "
        "send.",
        accuracy="larger learns faster, and too large stays restless",
        bits="larger moves more mask bits each round",
        reader="method",
    )  # fmt: skip
    lr_schedule: Schedule = setting(
        "constant",
        label="Step size schedule", group="Training",
        about="`cosine` lowers lr to 0 over the rounds; late flips are mostly optimiser noise, so it saves bits.",
        accuracy="cosine settles towards the end",
        bits="cosine saves the late flips, which are mostly noise",
        reader="method",
    )  # fmt: skip
    adam_eps: float = setting(
        1e-08,
        gt=0, le=1,
        label="Adam ε on scores", group="Training",
        about="ε of Adam on the scores. Larger leaves scores with small gradients where they are: fewer bits.",
        accuracy="larger ignores weak gradients: less noise, and some learning",
        bits="larger: fewer flips",
        reader="method",
    )  # fmt: skip
    weight_lr: float = setting(
        0.0003,
        gt=0, le=1,
        label="Weight step size", group="Training",
        about="Adam's step size on weights, and on adapters beside them.",
        accuracy="too small learns little, too large forgets the pretrained weights",
        bits="none: all weights travel",
        reader="method",
    )  # fmt: skip
    lora_rank: int = setting(
        4,
        ge=1, le=256,
        label="LoRA rank", group="Method",
        about="r, the rank of the adapters: more to learn, more to send. Fed-SB sends r² numbers a layer.",
        accuracy="higher rank can say more",
        bits="in proportion to the rank; in Fed-SB to its square",
        reader="method",
    )  # fmt: skip
    adapter_bases: Bases = setting(
        "gradient",
        label="Fed-SB's B and A", group="Method",
        about="Where Fed-SB's frozen B and A come from. `gradient`: the SVD of the clients' first gradient "
        "(paper), for which round 1 is spent; `weights`: the SVD of the pretrained weights (LoRA-XS), which everybody "
        "has.",
        accuracy="gradient spans what the task wants to change, and is clearly better",
        bits="gradient: once a bit a weight up, and B and A down; weights: none",
        reader="method",
    )  # fmt: skip
    zo_steps: int = setting(
        20,
        ge=1, le=10000,
        label="Directions a round", group="Method",
        about="Zeroth-order methods: random directions that a round looks along, with two forward passes each. Read "
        "instead of the local epochs.",
        accuracy="more see more of the gradient; all together see little of it",
        bits="a bit (FeedSign) or a number (DeComFL) each, up and down",
        reader="method",
    )  # fmt: skip
    zo_radius: float = setting(
        0.001,
        gt=0, le=1,
        label="Radius μ", group="Method",
        about="μ: zeroth-order methods take the loss's slope from w − μz to w + μz, z being ±1 for every weight.",
        accuracy="too large sees the curve, too small the rounding",
        bits="none",
        reader="method",
    )  # fmt: skip
    theta_init: float = setting(
        0.95,
        gt=0, lt=1,
        label="θ₀", group="Method",
        about="θ₀, the mask probability every weight starts with.",
        accuracy="near 1 the pretrained network starts intact; at 0.5 it starts broken",
        bits="extremes flip less",
        reader="method",
    )  # fmt: skip
    dropout: float = setting(
        0.0,
        ge=0, lt=1,
        label="Vanishing clients", group="Clients",
        about="Share of the sampled clients that vanish before they answer. The round goes on without them.",
        accuracy="fewer answers a round: noisier, slower",
        bits="who vanished sent nothing",
    )  # fmt: skip
    probe_epochs: int = setting(
        40,
        ge=1, le=1000,
        label="Head epochs", group="Training",
        about="Local epochs of the linear-probing round that initialises the head.",
        accuracy="a better first head, up to a point",
        bits="none: the head is sent once",
    )  # fmt: skip
    probe_lr: float = setting(
        0.001,
        gt=0, le=1,
        label="Head step size", group="Training",
        about="Adam's step size for the head.",
        accuracy="too large and the head starts rough",
        bits="none",
    )  # fmt: skip
