"""Food-101 (Bossard et al., 2014): 75,750 / 25,250 photographs of dishes."""

from __future__ import annotations

from pathlib import Path

from deltamask.datasets.listing import Listing, image_dataset
from deltamask.datasets.places import Layout, rooted
from deltamask.datasets.spec import DatasetError, Download, ImageDataset, Remote, datasets
from deltamask.datasets.tables import read_words


def read(folder: Path) -> ImageDataset:
    """Training and test images as the lists in meta/ say."""
    classes = tuple(read_words(folder / "meta" / "classes.txt"))
    parts: list[Listing] = []
    for split in ("train", "test"):
        path = folder / "meta" / f"{split}.txt"
        lines = read_words(path)
        unknown = sorted({line.split("/")[0] for line in lines} - set(classes))
        if unknown:
            raise DatasetError(f"{path}: unknown classes {', '.join(unknown[:3])}; get the files again")
        number = {one: at for at, one in enumerate(classes)}
        parts.append([(f"images/{line}.jpg", number[line.split("/")[0]]) for line in lines])
    return image_dataset("food-101", folder, parts[0], parts[1], classes)


datasets.register("food-101")(
    rooted(
        "food-101",
        (Layout("food-101", ("meta/classes.txt", "meta/train.txt", "meta/test.txt", "images")),),
        read,
        license="none of its own; the pictures are Foodspotting's, for scientific fair use",
        how_to_get="`deltamask download food-101`",
        size_bytes=4_996_278_331,
        download=Download(
            (
                Remote(
                    "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
                    4_996_278_331,
                    "85eeb15f3717b99a5da872d97d918f87",
                ),
            ),
            unpack=True,
        ),
    )
)
