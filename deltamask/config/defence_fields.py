"""Fields of RunConfig: clients that lie, and what the server does about it."""

from __future__ import annotations

from typing import Literal

from deltamask.config.setting import AttackName, Described, setting

CheckFlips = Literal["off", "on"]
Robust = Literal["none", "clip", "trimmed", "median"]


class DefenceFields(Described):
    """Attacks, which only a simulation plays, and protection, which is for real runs as well."""

    attack: AttackName = setting(
        "none",
        label="Attack", group="Clients",
        about="What lying clients send. In a simulation only: over Flower a run with an attack is refused.",
        accuracy="one liar can ruin a run that is not protected",
        bits="as many as the lie takes",
        registry="attack",
    )  # fmt: skip
    attackers: int = setting(
        1,
        ge=1, le=100000,
        label="Liars", group="Clients",
        about="How many of the N clients lie; which ones follows from the seed.",
        accuracy="the more, the less protection helps; from half of them on, none does",
        bits="none of their own",
        reader="attack",
    )  # fmt: skip
    check_flips: CheckFlips = setting(
        "off",
        label="Check flips", group="Method",
        about="`on`: the server asks of each flip whether a score could have moved that far from θ_g across the public "
        "u, in the steps that this client takes at this step size. An exact code with a flip that cannot be is "
        "refused; from a filter such flips are dropped, since only false ones can be among them.",
        accuracy="none for exact codes; filters lose some of their false flips",
        bits="none",
        reader="method",
    )  # fmt: skip
    robust: Robust = setting(
        "none",
        label="Robust aggregation", group="Method",
        about="How much one client can move the server. `clip`: no further than the round's median one; in flips, "
        "their KL and bits of a mask 1.5 times as far. `trimmed`, `median`: "
        "of vectors, the mean without the outer fifth or the median of each value; masks are clipped. Statistics far "
        "from the others' are refused.",
        accuracy="little for honest runs; holds it when few clients lie",
        bits="none",
    )  # fmt: skip
