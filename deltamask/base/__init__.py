"""What every other folder may use: the registry, whole-or-absent files, a stopwatch, units."""
