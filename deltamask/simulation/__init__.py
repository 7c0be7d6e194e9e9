"""The loop of a run and what it measures: delivery, the account of bytes, the record of each round."""
