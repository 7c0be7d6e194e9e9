"""Who holds which samples. One file a partition, which registers itself. Needs no torch."""

from deltamask.base.registry import import_all
from deltamask.datasets.partitions.base import Partition, Shards, Split, label_counts, partitions, split

import_all(__name__, __path__)
get, names = partitions.get, partitions.names

__all__ = ["Partition", "Shards", "Split", "get", "label_counts", "names", "partitions", "split"]
