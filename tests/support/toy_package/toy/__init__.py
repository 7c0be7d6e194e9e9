"""A package from outside, found by its entry points."""
