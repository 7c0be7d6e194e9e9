"""Cars196 (Krause et al., 2013): 8,144 / 8,041 photographs of cars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from deltamask.datasets.listing import Listing, image_dataset
from deltamask.datasets.places import Layout, rooted
from deltamask.datasets.spec import DatasetError, ImageDataset, datasets
from deltamask.datasets.tables import read_mat

FILES = (
    "devkit/cars_meta.mat",
    "devkit/cars_train_annos.mat",
    "cars_test_annos_withlabels.mat",
    "cars_train",
    "cars_test",
)


def read(folder: Path) -> ImageDataset:
    """Training and test images as the annotations say."""
    meta = folder / "devkit" / "cars_meta.mat"
    classes = tuple(str(one) for one in np.atleast_1d(read_mat(meta, "class_names")["class_names"]))
    parts: list[Listing] = []
    for path, images in (
        (folder / "devkit" / "cars_train_annos.mat", "cars_train"),
        (folder / "cars_test_annos_withlabels.mat", "cars_test"),
    ):
        rows: Any = np.atleast_1d(read_mat(path, "annotations")["annotations"])
        if not {"fname", "class"} <= set(rows.dtype.names or ()):
            raise DatasetError(f"{path}: its annotations have no file names and classes; get the file again")
        parts.append([(f"{images}/{row['fname']}", int(row["class"]) - 1) for row in rows])
    return image_dataset("cars196", folder, parts[0], parts[1], classes)


datasets.register("cars196")(
    rooted(
        "cars196",
        (Layout("stanford_cars", FILES),),
        read,
        license="none stated; made for research, the pictures are their photographers'",
        how_to_get="its address is dead: put a copy that you have (devkit, cars_test_annos_withlabels.mat and the "
        "folders cars_train and cars_test) into stanford_cars/ under DELTAMASK_DATA",
        size_bytes=979_269_282 + 977_350_468 + 330_960 + 185_758,
    )
)
