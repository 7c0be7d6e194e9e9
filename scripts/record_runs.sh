#!/bin/sh
# Make the recorded runs that the dashboard opens with: same data, same split, same seed, 60 rounds each.
#     scripts/record_runs.sh [folder]        (about 15 minutes on two cores)
# A run that exists already is continued or left alone, so the script can be stopped and started again.
set -eu
target=${1:-data/runs}
deltamask=${DELTAMASK:-deltamask}
for preset in fashion fashion-paper fashion-unbiased fashion-gap fashion-fedpm fashion-probe; do
    if [ -e "$target/$preset/config.json" ]; then
        $deltamask resume "$target/$preset"
    else
        $deltamask run --preset "$preset" --out "$target/$preset"
    fi
done
