"""Run all benchmarks, one of them, or a short version.

python -m benchmarks                 run all benchmarks, which takes hours
python -m benchmarks NAME ...        run one benchmark; NAME --help lists its options
python -m benchmarks --short         run compare, ratios, growth and costs briefly, to check that they work; the
                                     figures of such short runs are meaningless
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, cast

from . import (
    bulk,
    compare,
    costs,
    crash,
    deliveries,
    distributed,
    fairness,
    fuzz,
    growth,
    outages,
    pacing,
    planning,
    ratios,
    receiver,
    rollback,
    service,
    urls,
    waiting,
    webhooks,
)

BENCHMARKS: Final = {
    "compare": compare,
    "ratios": ratios,
    "growth": growth,
    "costs": costs,
    "pacing": pacing,
    "fairness": fairness,
    "waiting": waiting,
    "service": service,
    "bulk": bulk,
    "planning": planning,
    "rollback": rollback,
    "crash": crash,
    "outages": outages,
    "fuzz": fuzz,
    "urls": urls,
    "deliveries": deliveries,
    "distributed": distributed,
    "receiver": receiver,
    "webhooks": webhooks,
}
"""The benchmark modules by name. Each has a function `main`, whose argument is a list of command-line arguments."""

SHORT: Final = {
    "ratios": ["--rounds=1", "--count=100", "--only=script,bare,update,update_many"],
    "compare": ["--rounds=1", "--count=300", "--only=floor,script,update_many"],
    "growth": ["--rounds=1", "--count=300", "--max-count=600", "--max-concurrency=10"],
    "costs": ["--rounds=1", "--count=300"],
}
"""The benchmarks that `--short` runs, with their arguments."""


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
    parser.add_argument(
        "--short", action="store_true", help="run compare, ratios, growth and costs briefly, to check that they work"
    )
    parser.add_argument(
        "--json", metavar="FOLDER", type=Path, help="also write the figures of each benchmark to FOLDER/NAME.json"
    )
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
