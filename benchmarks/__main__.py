"""Runs the benchmark that is named on the command line; what follows the name is for the benchmark."""

import sys

from . import memory, pacing

BENCHMARKS = {"memory": memory.main, "pacing": pacing.main}

if __name__ == "__main__":
    chosen = BENCHMARKS.get(sys.argv[1] if len(sys.argv) > 1 else "")
    if chosen is None:
        sys.exit(f"usage: python -m benchmarks {{{','.join(BENCHMARKS)}}} [--help]")
    chosen(sys.argv[2:])
