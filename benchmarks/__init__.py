"""The benchmarks of aiorooms. `python -m benchmarks --help` lists them."""
