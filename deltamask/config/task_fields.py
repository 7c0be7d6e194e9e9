"""Fields of RunConfig: what is learnt, and by whom."""

from __future__ import annotations

from typing import Literal

from deltamask.config.setting import Described, MethodName, PartitionName, setting

EvaluateOn = Literal["test", "validation"]
FeaturePrecision = Literal["float32", "float16"]
BadImages = Literal["stop", "skip"]


class TaskFields(Described):
    """Network, data and clients."""

    method: MethodName = setting(
        "deltamask",
        label="Method", group="Method",
        about="Federated method: what a client learns and sends.",
        accuracy="what can be learnt at all; the linear probe is the floor",
        registry="method",
        bits="from whole weights to a few flips a round",
    )  # fmt: skip
    backbone: str = setting(
        "efficientnet_lite0",
        label="Backbone", group="Task",
        about="Pretrained network (see `deltamask doctor`), or `timm:NAME`.",
        accuracy="a better pretrained network lifts every method",
        bits="sets d, by which all bits are divided",
        registry="backbone", prefix="timm:",
    )  # fmt: skip
    weights: str = setting(
        "pretrained",
        label="Weights", group="Network and data",
        about="The backbone's weights: `pretrained`, a file of them (safetensors or a torch checkpoint), or "
        "`random`: untrained, to try a backbone's size and speed without its file.",
        accuracy="everything rests on them: random ones leave little to mask",
        bits="none: w never travels",
    )  # fmt: skip
    masked_blocks: int = setting(
        1,
        ge=1, le=64,
        label="Masked blocks", group="Network and data",
        about="How many of the last blocks are masked. More blocks: more to learn and more bits to send.",
        accuracy="more to adapt, and more to get wrong",
        bits="d grows with each block, and flips with it",
    )  # fmt: skip
    image_size: int = setting(
        96,
        ge=32, le=518,
        label="Image size", group="Network and data",
        about="Images are resized to this many pixels a side. ViTs need a multiple of their patch and were mostly "
        "trained on 224; text backbones do not read it.",
        accuracy="more detail, up to what the network was trained on",
        bits="none directly; each step takes longer",
    )  # fmt: skip
    dataset: str = setting(
        "fashion-mnist-mini",
        label="Dataset", group="Task",
        about="Dataset name (see `deltamask doctor`), or `folder:PATH` with a folder of images for each class, or "
        "`clients:PATH` with such folders in one for each client.",
        accuracy="the task itself",
        bits="harder tasks keep more mask bits moving",
        registry="dataset", prefix=("folder:", "clients:"),
    )  # fmt: skip
    train_samples: int = setting(
        6000,
        ge=1, le=10000000,
        label="Training images", group="Network and data",
        about="Training images used, from the front of the dataset's fixed order; more than there are means all.",
        accuracy="more images, higher accuracy",
        bits="more local steps a round, so more flips",
    )  # fmt: skip
    test_samples: int = setting(
        2000,
        ge=1, le=10000000,
        label="Test images", group="Network and data",
        about="Test images used, from the front of the fixed order; more than there are means all.",
        accuracy="measured more precisely, not better",
        bits="none",
    )  # fmt: skip
    evaluate_on: EvaluateOn = setting(
        "test",
        label="Evaluate on", group="Network and data",
        about="`validation`: measure on the training images that follow the first train_samples, as many as "
        "test_samples says, and touch no test image: for choosing settings.",
        accuracy="which images it is measured on, not how good it is",
        bits="none",
    )  # fmt: skip
    masks_every: int = setting(
        10,
        ge=1, le=10000,
        label="Evaluate other masks every", group="Network and data",
        about="The thresholded mask and one sampled mask are measured beside the mean mask every so many rounds. "
        "The mean mask, of which accuracy is given, is measured in each.",
        accuracy="none: only how often two other figures are there",
        bits="none",
        reader="method",
    )  # fmt: skip
    bad_images: BadImages = setting(
        "stop",
        label="Unreadable images", group="Network and data",
        about="What to do about an image file that cannot be read: `stop` and name it, or `skip` it; the run lists "
        "what it skipped.",
        accuracy="skipping loses those images",
        bits="none",
    )  # fmt: skip
    feature_precision: FeaturePrecision = setting(
        "float32",
        label="Feature precision", group="Storage",
        about="How trunk features are kept on disk. `float16` takes half the space; whatever is computed from them "
        "is computed in float32.",
        accuracy="float16 rounds the trunk's features a little",
        bits="none on the wire; half the disk",
    )  # fmt: skip
    clients: int = setting(
        5,
        ge=1, le=100000,
        label="Clients N", group="Clients",
        about="N, the number of clients that hold data.",
        accuracy="fewer images each: noisier local learning",
        bits="bpp is a client's; all together send N times as much",
    )  # fmt: skip
    rho: float = setting(
        1.0,
        gt=0, le=1,
        label="Participation ρ", group="Clients",
        about="ρ, the share of clients sampled each round: K = ⌈ρN⌉.",
        accuracy="fewer clients a round: slower, less even",
        bits="in proportion: only sampled clients send",
    )  # fmt: skip
    partition: PartitionName = setting(
        "dirichlet",
        label="Partition", group="Clients",
        about="How the training samples are dealt out to the clients.",
        accuracy="the more clients differ, the lower, and the worst one falls furthest",
        bits="more flips where clients pull apart",
        registry="partition",
    )  # fmt: skip
    dirichlet_alpha: float = setting(
        10.0,
        gt=0, le=10_000,
        label="Dirichlet α", group="Clients",
        about="α_dir, concentration of the label split: 10 is close to IID, 0.1 strongly non-IID.",
        accuracy="small α pulls clients apart, and the worst one falls furthest",
        bits="small α: more flips",
        reader="partition",
    )  # fmt: skip
    shards_per_client: int = setting(
        2,
        ge=1, le=1000,
        label="Classes a client", group="Clients",
        about="Pieces of the samples, sorted by class, that each client gets: about as many classes as it holds.",
        accuracy="few classes pull clients apart",
        bits="few classes: more flips",
        reader="partition",
    )  # fmt: skip
    size_exponent: float = setting(
        1.0,
        ge=0, le=10,
        label="Size exponent", group="Clients",
        about="Client number k holds samples in proportion to k to the power of minus this; 0: all the same.",
        accuracy="large: a few clients decide, and the small ones are served less well",
        bits="small clients send less",
        reader="partition",
    )  # fmt: skip
    min_client_samples: int = setting(
        8,
        ge=1, le=100000,
        label="Least samples a client", group="Clients",
        about="Every client holds at least this many training samples.",
        accuracy="keeps very small clients from being noise only",
        bits="none",
    )  # fmt: skip
    compare_alone: bool = setting(
        False,
        label="Compare with going alone", group="Clients",
        about="Before round 1, train a model for each client on its own samples only, under the same head and by the "
        "method's own local training, for as many epochs as a client of the run takes part in on average. Its accuracy "
        "for that client says who gains by joining. As much training as the run itself, and one evaluation a client. "
        "In simulation only.",
        accuracy="none: it is a comparison",
        bits="none: nothing is sent",
    )  # fmt: skip
