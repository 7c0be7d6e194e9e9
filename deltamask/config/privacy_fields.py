"""Fields of RunConfig: a promise of differential privacy, for each training sample or for each client."""

from __future__ import annotations

from typing import Literal

from deltamask.config.setting import Described, setting

Privacy = Literal["none", "samples", "clients"]


class PrivacyFields(Described):
    """What is promised, and what keeps the promise: a limit on what one sample or one client adds, and noise."""

    dp: Privacy = setting(
        "none",
        label="Differential privacy", group="Method",
        about="`samples`: whatever a client sends would have been about as likely without any one of its training "
        "samples, by (ε, δ)-differential privacy: batches are drawn at random, each sample's gradient is clipped, and "
        "noise is added in every step (DP-SGD). `clients`: what the server makes public would have been about as "
        "likely with any one client's data replaced: a client sends at most B flips, and the server adds noise to "
        "their sum. That takes thousands of clients.",
        accuracy="noise costs accuracy, the more the smaller ε is",
        bits="noise moves masks as learning does: more flips",
    )  # fmt: skip
    dp_epsilon: float = setting(
        8.0,
        gt=0, le=1000,
        label="Privacy budget ε", group="Method",
        about="ε, what the rounds of a run spend at most. Read with dp = samples or clients.",
        accuracy="smaller promises more, and takes more noise",
        bits="smaller: noisier updates",
    )  # fmt: skip
    dp_delta: float = setting(
        1e-5,
        gt=0, lt=1,
        label="Privacy δ", group="Method",
        about="δ, by how much the promise may fail; below 1/n for n training samples.",
        accuracy="smaller takes slightly more noise",
        bits="hardly any",
    )  # fmt: skip
    dp_head_share: float = setting(
        0.5,
        gt=0, le=1,
        label="ε for the head", group="Method",
        about="The share of ε that the head's statistics may spend (`head_init = unit-means`); the steps after them "
        "have the rest. A run that trains nothing after the head gives it all.",
        accuracy="more makes a better head, and noisier steps after it",
        bits="none",
    )  # fmt: skip
    dp_clip: float = setting(
        0.1,
        gt=0, le=1e6,
        label="Gradient limit C", group="Training",
        about="C, the largest norm of one sample's gradient: a larger one is scaled down to it. Adam does not see the "
        "scale, so what counts is which gradients are cut.",
        accuracy="too large and the noise drowns small gradients",
        bits="none of its own",
    )  # fmt: skip
    dp_noise: float = setting(
        0.0,
        ge=0, le=10000,
        label="Noise σ", group="Training",
        about="σ, the noise's standard deviation over C, or with dp = clients over √(2B). 0: the least with which ε "
        "lasts for all rounds. Any other: the run ends before the round that would spend more than ε.",
        accuracy="more noise a step for more steps, or less for fewer",
        bits="none of its own",
    )  # fmt: skip
    dp_flips: int = setting(
        1000,
        ge=1, le=10**9,
        label="Flips a client, B", group="Bits",
        about="B, the most flips that one client sends in a round: those that κ would keep first. Read with dp = "
        "clients, whose noise on every position grows with √B.",
        accuracy="more signal from each client, and more noise on all of it",
        bits="fewer flips, fewer bits up; the noisy sum is what costs bits down",
    )  # fmt: skip
