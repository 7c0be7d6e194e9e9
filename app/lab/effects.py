"""What a setting does to accuracy and to bits: the second half of a control's help, after its description."""

from __future__ import annotations

NONE = "none"  # no effect worth naming

EFFECTS: dict[str, tuple[str, str]] = {  # field: (accuracy, bits)
    "method": ("what can be learnt at all; the linear probe is the floor", "from whole weights to a few flips a round"),
    "backbone": ("a better pretrained network lifts every method", "sets d, by which all bits are divided"),
    "weights": ("everything rests on them: random ones leave little to mask", "none: w never travels"),
    "masked_blocks": ("more to adapt, and more to get wrong", "d grows with each block, and flips with it"),
    "image_size": ("more detail, up to what the network was trained on", "none directly; each step takes longer"),
    "dataset": ("the task itself", "harder tasks keep more mask bits moving"),
    "train_samples": ("more images, higher accuracy", "more local steps a round, so more flips"),
    "test_samples": ("measured more precisely, not better", NONE),
    "evaluate_on": ("which images it is measured on, not how good it is", NONE),
    "bad_images": ("skipping loses those images", NONE),
    "feature_precision": ("float16 rounds the trunk's features a little", "none on the wire; half the disk"),
    "clients": ("fewer images each: noisier local learning", "bpp is a client's; all together send N times as much"),
    "rho": ("fewer clients a round: slower, less even", "in proportion: only sampled clients send"),
    "dirichlet_alpha": ("small α pulls clients apart, and the worst one falls furthest", "small α: more flips"),
    "dropout": ("fewer answers a round: noisier, slower", "who vanished sent nothing"),
    "min_client_samples": ("keeps very small clients from being noise only", NONE),
    "rounds": ("rises, then levels off", "the total grows with every round"),
    "local_epochs": ("faster a round; with small α clients drift apart", "more flips a round, fewer rounds needed"),
    "batch_size": ("smaller: more, noisier steps", "more steps move more mask bits"),
    "lr": ("larger learns faster, and too large stays restless", "larger moves more mask bits each round"),
    "adam_eps": ("larger ignores weak gradients: less noise, and some learning", "larger: fewer flips"),
    "lr_schedule": ("cosine settles towards the end", "cosine saves the late flips, which are mostly noise"),
    "theta_init": ("near 1 the pretrained network starts intact; at 0.5 it starts broken", "extremes flip less"),
    "noise": ("per_client keeps θ from collapsing to 0 and 1", "u is never sent; shared noise flips less as θ freezes"),
    "aggregation": ("unbiased has less variance and learns on", "unbiased keeps more bits in motion"),
    "server_lr": ("larger follows the clients faster, and their noise too", "larger: more flips next round"),
    "kappa": ("smaller drops the least certain flips: slower learning", "falls almost in proportion"),
    "kappa_schedule": ("cosine freezes the mask towards the end", "cosine sends less and less"),
    "codec": ("exact codecs change nothing; filters add false flips that θ must undo", "the same flips, other bytes"),
    "downlink": ("none: both forms say the same θ", "counts send only what changed since the last message"),
    "update_codec": ("the rougher, the noisier each step of the server", "from 32 bits a weight to below one"),
    "weight_lr": ("too small learns little, too large forgets the pretrained weights", "none: all weights travel"),
    "lora_rank": ("higher rank can say more", "in proportion to the rank"),
    "probe_epochs": ("a better first head, up to a point", "none: the head is sent once"),
    "probe_lr": ("too large and the head starts rough", NONE),
    "device": ("the same but for rounding", NONE),
    "seed": ("some noise of its own: compare over several seeds", "hardly any"),
    "keep_payloads": (NONE, "none on the wire; `all` fills the disk"),
}


def effect(name: str) -> str:
    """The two effects as text for a control's help."""
    accuracy, bits = EFFECTS[name]
    return f"**Accuracy:** {accuracy}. **Bits:** {bits}."
