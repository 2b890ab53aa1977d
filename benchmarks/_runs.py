"""Run contestants against the canned server (see `_contestants` and `_server`).

Each run has its own process on one core. The server runs on another core. The result of a run is `Figures`. Ratios
compare runs of the same round: if the machine is slow for a minute, both runs are slow. The reported figures are the
median over the rounds, with the minimum and the maximum.
"""

import argparse
import http.client
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Literal, Self, TypeAlias, cast

import attrs

from ._contestants import NEEDS

CONCURRENCY: Final = 50
"""The default number of updates in flight."""

_EXTRAS: Final = {"orjson": "speed", "uvloop": "speed", "matplotlib": "dev"}
_PACKAGES: Final = ("aiorooms", "aiohttp", "yarl", "attrs", "cattrs", "orjson", "uvloop", "httpx", "telnyx")


Loop: TypeAlias = Literal["asyncio", "uvloop"]
LOOPS: Final[tuple[Loop, ...]] = ("asyncio", "uvloop")


# --- the variants of a contestant ---


@attrs.frozen
class Variant:
    """A contestant on one event loop, with or without orjson."""

    contestant: str
    loop: Loop = "asyncio"
    orjson: bool = False

    @property
    def lacks(self) -> list[str]:
        """The packages that the variant needs and that are not installed."""
        needed = [*NEEDS.get(self.contestant, ()), *(["uvloop"] if self.loop == "uvloop" else [])]
        return missing([*needed, *(["orjson"] if self.orjson else [])])

    def __str__(self) -> str:
        return f"{self.contestant} ({self.loop}{', orjson' if self.orjson else ''})"


def missing(packages: Iterable[str]) -> list[str]:
    return [package for package in packages if importlib.util.find_spec(package) is None]


def how_to_install(package: str) -> str:
    return f"pip install -e '.[{_EXTRAS.get(package, 'bench')}]'"


def installed(variants: Iterable[Variant]) -> list[Variant]:
    """Return the variants whose packages are installed. Print the others. Exit if none can run."""
    runnable: list[Variant] = []
    skipped: dict[tuple[str, ...], list[Variant]] = {}
    for variant in variants:
        if lacking := variant.lacks:
            skipped.setdefault(tuple(lacking), []).append(variant)
        else:
            runnable.append(variant)
    for packages, lacking_them in skipped.items():
        names = ", ".join(map(str, lacking_them))
        print(f"skipped, because {' and '.join(packages)} is missing ({how_to_install(packages[0])}): {names}")
    if not runnable:
        sys.exit("none of the contestants can run; install the missing packages")
    return runnable


# --- figures ---


@attrs.frozen(kw_only=True)
class Figures:
    """The measurements of one run."""

    count: int
    """Number of updates."""
    cpu: float
    """CPU time of the client, user and system, in seconds."""
    seconds: float
    """Wall time, in seconds."""
    imported_mb: float
    """Peak memory of the client after its imports, in MB."""
    peak_mb: float
    """Peak memory of the client at the end, in MB."""
    server_cpu: float
    """CPU time of the server for one update, in seconds: the mean over the warm-up and the measured updates."""

    @property
    def cpu_us(self) -> float:
        """CPU time of the client for one update, in microseconds."""
        return self.cpu / self.count * 1e6

    @property
    def per_second(self) -> float:
        """Updates per second."""
        return self.count / self.seconds

    @property
    def above_mb(self) -> float:
        """Increase of the peak memory after the imports, in MB."""
        return self.peak_mb - self.imported_mb

    @property
    def client_busy(self) -> float:
        """CPU time of the client as a share of the wall time, 0 to 1.

        For the rest of the time, the client waited for the server, or another process used the core.
        """
        return self.cpu / self.seconds

    @property
    def server_busy(self) -> float:
        """CPU time of the server as a share of the wall time, 0 to 1."""
        return self.server_cpu * self.per_second


Measure: TypeAlias = Literal["cpu_us", "per_second", "above_mb", "peak_mb", "client_busy", "server_busy"]


@attrs.frozen
class Spread:
    """The median, minimum and maximum of a figure over several rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        return cls(statistics.median(values), min(values), max(values))

    def text(self, digits: int = 1) -> str:
        return f"{self.median:,.{digits}f} ({self.least:,.{digits}f}..{self.most:,.{digits}f})"


def spread(runs: Sequence[Figures], measure: Measure) -> Spread:
    return Spread.of([cast("float", getattr(figures, measure)) for figures in runs])


def ratio(runs: Sequence[Figures], reference: Sequence[Figures], measure: Measure) -> Spread:
    """Divide each run's figure by that of the reference in the same round, and return the spread of the ratios."""
    pairs = zip(runs, reference, strict=True)
    # The memory of the reference may not have grown at all. To avoid a division by 0, use at least 1/256 MB (4 KiB).
    return Spread.of([getattr(ours, measure) / max(getattr(theirs, measure), 1 / 256) for ours, theirs in pairs])


@attrs.frozen
class Target:
    """A measured figure, and the maximum for its median. A missed target does not change the exit status."""

    what: str
    measured: Spread
    bar: float
    """The maximum for the median, inclusive."""
    unit: str = ""
    met: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "met", self.measured.median <= self.bar)


def print_targets(targets: Sequence[Target]) -> None:
    rows = [
        (one.what, one.measured.text(3), f"at most {one.bar:.4g}{one.unit}", "met" if one.met else "missed")
        for one in targets
    ]
    print_table(("figure", "measured", "target", ""), rows)


# --- the processes ---


def choose_cores() -> tuple[int, int] | None:
    """Return a core for the client and one for the server. Return None if this is not possible."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 else None


class Server:
    """The canned server in its own process. `run` measures a contestant against it."""

    def __init__(self, *, rate_limit: bool = False) -> None:
        self._cores = choose_cores()
        command = [sys.executable, "-m", "benchmarks._server", *(["--rate-limit"] if rate_limit else [])]
        if self._cores is not None:
            command += ["--core", str(self._cores[1])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        if not port:
            sys.exit(f"the server did not start: its process ended with exit status {self._process.wait()}")
        self._address = f"127.0.0.1:{port}"
        self.url: str = f"http://{self._address}/v2"
        self.client_core: int | None = None if self._cores is None else self._cores[0]
        self._connection = http.client.HTTPConnection(self._address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.communicate()  # closes the standard input of the server, which then exits

    def _usage(self) -> tuple[float, int]:
        self._connection.request("GET", "/cpu")
        usage = json.load(self._connection.getresponse())
        return usage["cpu"], usage["requests"]

    def run(self, variant: Variant, count: int, concurrency: int = CONCURRENCY) -> Figures:
        """Run a contestant in a new process, and return its figures. Exit if that process fails."""
        command = [sys.executable, "-m", "benchmarks._contestants", variant.contestant]
        command += ["--url", self.url, "--count", str(count), "--concurrency", str(concurrency)]
        command += ["--loop", variant.loop, *([] if variant.orjson else ["--without-orjson"])]
        if self._cores is not None:
            command += ["--core", str(self._cores[0])]
        cpu, requests = self._usage()
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if ended.returncode != 0:
            sys.exit(f"{variant} failed: its process ended with exit status {ended.returncode}")
        cpu_after, requests_after = self._usage()
        server_cpu = (cpu_after - cpu) / (requests_after - requests)
        return Figures(count=count, server_cpu=server_cpu, **cast("dict[str, float]", json.loads(ended.stdout)))


# --- shared options and output ---


def at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def make_parser(
    name: str,
    description: str | None,
    *,
    rounds: int,
    count: int = 20_000,
    counted: Literal["count", "rooms"] = "count",
) -> argparse.ArgumentParser:
    """Return a parser with the options `--rounds`, `--count` (or `--rooms`) and `--json`, and their defaults."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks {name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    text = f"number of rounds; each round runs everything once (default: {rounds})"
    parser.add_argument("--rounds", metavar="NUMBER", type=at_least_one, default=rounds, help=text)
    what = {"count": "number of updates in a run", "rooms": "number of rooms"}
    text = f"{what[counted]} (default: {count})"
    parser.add_argument(f"--{counted}", metavar="NUMBER", type=at_least_one, default=count, help=text)
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures to this file")
    return parser


def environment() -> dict[str, str | int]:
    """Return a description of the machine and the versions of the installed packages."""
    cores = choose_cores()
    versions = {
        package: importlib.metadata.version(package)
        for package in _PACKAGES
        if importlib.util.find_spec(package) is not None
    }
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "cores": os.cpu_count() or 1,
        "pinned": "no" if cores is None else f"client to core {cores[0]}, server to core {cores[1]}",
        **versions,
    }


def print_environment() -> None:
    print(", ".join(f"{name} {value}" for name, value in environment().items()))


def write_json(file: Path, figures: attrs.AttrsInstance) -> None:
    text = json.dumps({"environment": environment(), **attrs.asdict(figures)}, indent=2, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table. The first column is left-aligned, the others are right-aligned."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = [
            f"{cell:>{width}}" if number else f"{cell:<{width}}"
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
    print()
