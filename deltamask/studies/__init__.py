"""Many runs: experiment files, sweeps, tables with intervals, comparisons, estimates."""
