"""The benchmarks of aiorooms. `python -m benchmarks` runs all of them; `--help` lists them."""
