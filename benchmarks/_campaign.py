"""The command line of benchmarks that make many runs and check each of them: `crash`, `outages` etc."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, cast

import attrs

from ._runs import at_least_one, write_json

__all__ = ["Campaign", "CheckError", "add_options", "execute"]


class CheckError(Exception):
    """A check of a run failed."""


class Campaign(Protocol):
    """Counts over all runs."""

    def rows(self) -> Sequence[tuple[str, int]]:
        """Return the labels and counts to print."""
        ...


def add_options(parser: argparse.ArgumentParser, *, runs: int) -> None:
    """Add the options `--runs`, `--seed` and `--json`. `runs` is the default number of runs."""
    parser.add_argument(
        "--runs", metavar="NUMBER", type=at_least_one, default=runs, help=f"number of runs (default: {runs})"
    )
    parser.add_argument("--seed", metavar="NUMBER", type=int, default=1, help="seed of the first run (default: 1)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the counts to this file")


def execute(options: argparse.Namespace, play: Callable[[Sequence[int]], Campaign], passed: str) -> None:
    """Execute the runs and print their counts. If a check fails, exit with status 1."""
    began = time.monotonic()
    try:
        campaign = play(range(options.seed, options.seed + options.runs))
    except CheckError as error:
        sys.exit(str(error))
    for what, count in campaign.rows():
        print(f"{what:<48}{count:>10,}")
    if options.json is not None:
        write_json(options.json, cast("attrs.AttrsInstance", campaign))
    print(f"{passed} in {time.monotonic() - began:.0f} s.")
