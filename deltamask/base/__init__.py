"""What every other folder may use: the registry, whole-or-absent files, downloads, a stopwatch, units."""
