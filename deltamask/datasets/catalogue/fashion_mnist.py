"""Fashion-MNIST (Xiao et al., 2017, arXiv 1708.07747), whole, and the part that ships with the repository."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from deltamask.base.paths import data_dir
from deltamask.datasets.idx import MNIST_FILES, read_idx_dataset, read_idx_labels
from deltamask.datasets.places import Layout, rooted, roots
from deltamask.datasets.spec import Classes, Download, Labels, Remote, datasets

CLASSES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")
URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
FILES = (
    Remote(f"{URL}/train-images-idx3-ubyte.gz", 26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
    Remote(f"{URL}/train-labels-idx1-ubyte.gz", 29_515, "25c81989df183df01b3e8a0aad5dffbe"),
    Remote(f"{URL}/t10k-images-idx3-ubyte.gz", 4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
    Remote(f"{URL}/t10k-labels-idx1-ubyte.gz", 5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
)


def read_labels(folder: Path) -> tuple[Labels, Classes]:
    return read_idx_labels(folder, MNIST_FILES[1], CLASSES), CLASSES


datasets.register("fashion-mnist-mini")(
    rooted(
        "fashion-mnist-mini",
        (Layout("fashion-mnist-mini", MNIST_FILES),),
        partial(read_idx_dataset, name="fashion-mnist-mini", files=MNIST_FILES, classes=CLASSES),
        labels=read_labels,
        license="MIT",
        how_to_get="clone the repository with its data/ folder, or set DELTAMASK_DATA to one",
        size_bytes=6_200_000,
        places=lambda: [data_dir()],
    )
)
datasets.register("fashion-mnist")(
    rooted(
        "fashion-mnist",
        (Layout("", MNIST_FILES), Layout("FashionMNIST/raw", MNIST_FILES)),
        partial(read_idx_dataset, name="fashion-mnist", files=MNIST_FILES, classes=CLASSES),
        labels=read_labels,
        license="MIT",
        how_to_get="`apt-get install dataset-fashion-mnist` on Debian, or `deltamask download fashion-mnist`",
        size_bytes=30_878_645,
        download=Download(FILES, into="FashionMNIST/raw"),
        places=lambda: [DEBIAN_FASHION, *roots()],
    )
)
