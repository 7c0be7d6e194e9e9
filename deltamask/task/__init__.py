"""A task: trunk features, labels and shards, ready for training on a device."""
