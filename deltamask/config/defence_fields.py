"""Fields of RunConfig: clients that lie."""

from __future__ import annotations

from deltamask.config.setting import AttackName, Described, setting


class DefenceFields(Described):
    """Attacks, which only a simulation plays."""

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
