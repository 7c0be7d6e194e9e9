"""Fields of RunConfig: what is sent, and what the server makes of it."""

from __future__ import annotations

from typing import Literal

from deltamask.config.setting import CodecName, Described, UpdateCodecName, setting
from deltamask.config.training_fields import Schedule

Downlink = Literal["counts", "fp32"]
Noise = Literal["shared", "per_client"]
Aggregation = Literal["beta", "unbiased"]
SideInformation = Literal["off", "on"]


class MessageFields(Described):
    """Messages up and down, and aggregation."""

    update_codec: UpdateCodecName = setting(
        "fp32",
        label="Dense updates as", group="Bits",
        about="How a dense update becomes bytes: 32, 16, 4, 1 or half a bit a value, or as signSGD, QSGD and DRIVE "
        "do it.",
        accuracy="the rougher, the noisier each step of the server",
        registry="update codec",
        bits="from 32 bits a weight to below one",
        reader="method",
    )  # fmt: skip
    noise: Noise = setting(
        "per_client",
        label="Public noise u", group="Method",
        about="Public randomness u. `shared`: one u for all clients (paper); `per_client`: one for each, which "
        "keeps θ from collapsing to 0 or 1. Costs no bits.",
        accuracy="per_client keeps θ from collapsing to 0 and 1",
        bits="u is never sent; shared noise flips less as θ freezes",
        reader="method",
    )  # fmt: skip
    aggregation: Aggregation = setting(
        "beta",
        label="Aggregation", group="Method",
        about="`beta`: posterior of the decoded masks (paper); `unbiased`: θ += η·mean(m̂ − m_g), far less noisy.",
        accuracy="unbiased has less variance and learns on",
        bits="unbiased keeps more bits in motion",
        reader="method",
    )  # fmt: skip
    server_lr: float = setting(
        1.0,
        gt=0, le=10,
        label="Server step η", group="Method",
        about="η, the server's step; read by `unbiased`, by the methods that send weights, and by FedPM and "
        "DeepReduce, where less than 1 damps: θ_g ← (1 − η)·θ_g + η·(what the masks say).",
        accuracy="larger follows the clients faster, and their noise too",
        bits="larger: more flips next round",
        reader="method",
    )  # fmt: skip
    kappa: float = setting(
        1.0,
        gt=0, le=1,
        label="κ, share of flips sent", group="Bits",
        about="κ, the share of flips that are sent, largest KL(θ_k‖θ_g) first. Smaller: fewer bits, slower "
        "learning.",
        accuracy="smaller drops the least certain flips: slower learning",
        bits="falls almost in proportion",
        reader="method",
    )  # fmt: skip
    kappa_schedule: Schedule = setting(
        "constant",
        label="κ schedule", group="Bits",
        about="`cosine` lowers κ from its value towards 0 over the rounds.",
        accuracy="cosine freezes the mask towards the end",
        bits="cosine sends less and less",
        reader="method",
    )  # fmt: skip
    codec: CodecName = setting(
        "bfuse8",
        label="Codec", group="Bits",
        about="How a set of flips becomes bytes. `bfuse8/16/32`: the paper's filter with that many bits per entry "
        "(bpe), false flips ≈ d·2^−bpe. `-gated`: fewer false flips for 2 bytes. `gap`: ours, exact, a third of "
        "bfuse8's bits. `mask`: the whole mask.",
        accuracy="exact codecs change nothing; filters add false flips that θ must undo",
        registry="codec",
        bits="the same flips, other bytes",
        reader="method",
    )  # fmt: skip
    side_information: SideInformation = setting(
        "off",
        label="Side information", group="Bits",
        about="`off`: as published, coded as if the server knew nothing. `on`: coded given what both sides hold: whole "
        "masks given θ_g (`mask-theta`), DeepReduce's changed positions given u and θ_g (`gap`).",
        accuracy="none: both are exact",
        bits="`on` needs a fraction",
        reader="method",
    )  # fmt: skip
    smoothing: float = setting(
        0.0,
        ge=0, lt=0.5,
        label="Smoothing", group="Method",
        about="ε: a received mask bit counts as ε or 1 − ε, so that θ_g stays within [ε, 1 − ε]. FedPM's published "
        "code has 0.01.",
        accuracy="keeps every weight's bit able to change",
        bits="larger: bits stay uncertain, and cost more",
        reader="method",
    )  # fmt: skip
    downlink: Downlink = setting(
        "counts",
        label="Downlink", group="Bits",
        about="How θ_g reaches the clients. `counts`: what changed, entropy-coded given what they have; `fp32`: all "
        "of it in every round, 32 bits a parameter. Of the methods that send weights, only Fed-SB does the former.",
        accuracy="none: both forms say the same θ",
        bits="counts send only what changed since the last message",
        reader="method",
    )  # fmt: skip
