"""Run all benchmarks, one of them, or a short version.

python -m benchmarks                 all, about 45 minutes
python -m benchmarks NAME ...        one benchmark, with its own options (NAME --help lists them)
python -m benchmarks --short         compare, growth and costs in a few seconds; tests only that they run, and their
                                     figures are meaningless
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, cast

from . import bulk, compare, costs, crash, growth, pacing

BENCHMARKS: Final = {
    "compare": compare,
    "growth": growth,
    "costs": costs,
    "pacing": pacing,
    "bulk": bulk,
    "crash": crash,
}
"""The modules by name. Each has a `main` that takes the command-line arguments."""

SHORT: Final = {
    "compare": ["--rounds=1", "--count=300", "--only=floor,script,update_many"],
    "growth": ["--rounds=1", "--count=300", "--max-count=600", "--max-concurrency=10"],
    "costs": ["--rounds=1", "--count=300"],
}


def run_several(chosen: Mapping[str, Sequence[str]], folder: Path | None) -> None:
    for name, arguments in chosen.items():
        print(f"=== {name} ===", flush=True)
        began = time.monotonic()
        file = [f"--json={folder / name}.json"] if folder is not None else []
        BENCHMARKS[name].main([*arguments, *file])
        print(f"{name} took {time.monotonic() - began:.0f} s\n", flush=True)


def main(arguments: Sequence[str]) -> None:
    summaries = [f"  {name:<9}{(module.__doc__ or '').split(chr(10), 1)[0]}" for name, module in BENCHMARKS.items()]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        usage="python -m benchmarks [-h] [--short] [--json FOLDER] | NAME ...",
        description=__doc__,
        epilog="benchmarks:\n" + "\n".join(summaries),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--short", action="store_true", help="run compare, growth and costs for a few seconds")
    parser.add_argument("--json", metavar="FOLDER", type=Path, help="also write the figures to FOLDER/NAME.json")
    if arguments and not arguments[0].startswith("-"):
        name, *rest = arguments
        if name not in BENCHMARKS:
            parser.error(f"unknown benchmark {name!r}; choose from {', '.join(BENCHMARKS)}")
        BENCHMARKS[name].main(rest)
        return
    options = parser.parse_args(arguments)
    folder = cast("Path | None", options.json)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    run_several(SHORT if options.short else dict.fromkeys(BENCHMARKS, ()), folder)


if __name__ == "__main__":
    main(sys.argv[1:])
