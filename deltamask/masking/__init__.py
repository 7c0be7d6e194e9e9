"""The mathematics of probabilistic masks over flat vectors: noise, masks, aggregation. NumPy only."""
