"""Runs the benchmark that is named on the command line."""

import sys

from . import memory

BENCHMARKS = {"memory": memory.main}

if __name__ == "__main__":
    chosen = BENCHMARKS.get(sys.argv[1] if len(sys.argv) == 2 else "")
    if chosen is None:
        sys.exit(f"usage: python -m benchmarks {{{','.join(BENCHMARKS)}}}")
    chosen()
