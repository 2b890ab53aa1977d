"""What aiorooms costs. `python -m benchmarks NAME`; without a name it says which there are."""
