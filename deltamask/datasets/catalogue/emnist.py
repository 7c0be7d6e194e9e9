"""EMNIST (Cohen et al., 2017, arXiv 1702.05373), the split `balanced`: 47 classes, 112,800 / 18,800 images."""

from __future__ import annotations

from functools import partial

from deltamask.datasets.idx import read_idx_dataset, read_idx_labels
from deltamask.datasets.places import Layout, rooted
from deltamask.datasets.spec import Download, Remote, datasets

CLASSES = tuple("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt")  # look-alike lower-case letters are merged
FILES = tuple(
    f"emnist-balanced-{split}-{part}-ubyte" for split in ("train", "test") for part in ("images-idx3", "labels-idx1")
)

datasets.register("emnist")(
    rooted(
        "emnist",
        (Layout("EMNIST/raw", FILES), Layout("EMNIST/raw/gzip", FILES)),
        # Columns come first in these files: without `transposed`, letters lie on their side.
        partial(read_idx_dataset, name="emnist", files=FILES, classes=CLASSES, transposed=True),
        labels=lambda folder: (read_idx_labels(folder, FILES[1], CLASSES), CLASSES),
        license="none stated; NIST Special Database 19 is a work of the US government",
        how_to_get="`deltamask download emnist` (all splits come in one file; `balanced` is read)",
        size_bytes=561_753_746,
        download=Download(
            (
                Remote(
                    "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
                    561_753_746,
                    "58c8d27c78d21e728a6bc7b3cc06412e",
                ),
            ),
            into="EMNIST/raw",
            unpack=True,
        ),
    )
)
