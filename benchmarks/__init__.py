"""The benchmarks of aiorooms. `python -m benchmarks` runs all of them, `python -m benchmarks --help` lists them."""
