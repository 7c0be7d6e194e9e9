"""Differential privacy: what a run promises, what noise keeps the promise, and what has been spent of it. No torch."""
