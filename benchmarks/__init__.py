"""What aiorooms costs. `python -m benchmarks` runs everything; with `--help` it says what there is."""
