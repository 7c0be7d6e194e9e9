"""EuroSAT (Helber et al., 2019, arXiv 1709.00029): 27,000 satellite images of 64 px, no official split."""

from __future__ import annotations

from deltamask.datasets.folder import read_folder
from deltamask.datasets.places import Layout, rooted
from deltamask.datasets.spec import Download, Remote, datasets

CLASSES = (
    "AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial", "Pasture", "PermanentCrop", "Residential",
    "River", "SeaLake",
)  # fmt: skip

datasets.register("eurosat")(
    rooted(
        "eurosat",
        (Layout("eurosat/2750", CLASSES),),
        lambda folder: read_folder("eurosat", folder),
        license="MIT; Sentinel-2 data are free and open",
        how_to_get="`deltamask download eurosat`",
        size_bytes=94_280_567,
        download=Download(
            (
                Remote(
                    "https://huggingface.co/datasets/torchgeo/eurosat/resolve/"
                    "c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
                    94_280_567,
                    "c8fa014336c82ac7804f0398fcb19387",
                ),
            ),
            into="eurosat",
            unpack=True,
        ),
    )
)
