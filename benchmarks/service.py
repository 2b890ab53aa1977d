"""Observe a service with three worker processes, and compare its logs, metrics and traces with the simulator's counts.

uvicorn runs `benchmarks._observed_service` against a simulator with a rate limit and random faults. Callers send more
updates than the limit allows. At the end, the service is stopped with SIGTERM. Then each number is read from three
places: the metrics, the log lines, and the spans. The attempts and their statuses must be those that the simulator has
counted. It exits with 1 if a number differs.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import aiohttp

from aiorooms.simulator import FaultKind, Faults, RateLimit, RoomsSimulator

WORKERS: Final = 3
CALLERS: Final = 30
_KINDS: Final[Sequence[FaultKind]] = (
    *("503", "503_after", "reset_before", "reset_after", "stall_before", "truncated", "slow"),
)
_STATUSES: Final = ("200", "429", "500", "502", "503", "504")


async def _call(http: aiohttp.ClientSession, url: str, ids: Sequence[str], until: float, answers: Counter[int]) -> None:
    loop, chance = asyncio.get_running_loop(), random.Random(0)
    while loop.time() < until:
        async with http.patch(f"{url}/rooms/{chance.choice(ids)}/{chance.randrange(2, 51)}") as answer:
            answers[answer.status] += 1


async def _until_ready(http: aiohttp.ClientSession, url: str, process: asyncio.subprocess.Process) -> None:
    while process.returncode is None:
        try:
            async with http.get(f"{url}/openapi.json"):
                return
        except aiohttp.ClientError:
            await asyncio.sleep(0.1)
    raise RuntimeError("the service did not start")


async def _observe(seconds: float, folder: Path) -> tuple[RoomsSimulator, Counter[int]]:
    """Run the service for some seconds. Return the simulator and the answers of the service by status."""
    faults = Faults(rate=0.03, kinds=_KINDS)
    with RoomsSimulator(rooms=200, rate_limit=RateLimit(40, retry_after="seconds"), faults=faults) as sim:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        environment = {
            **os.environ,
            "TELNYX_API_KEY": sim.api_key,
            "TELNYX_BASE_URL": sim.url,
            "OBSERVED": str(folder),
            "PROMETHEUS_MULTIPROC_DIR": str(folder),
        }
        words = ("-m", "uvicorn", "benchmarks._observed_service:app", "--workers", str(WORKERS), "--port", str(port))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *words, "--log-level", "warning"), env=environment
        )
        answers: Counter[int] = Counter()
        url = f"http://127.0.0.1:{port}"
        # Each request has a connection of its own, so that all workers get requests.
        connector = aiohttp.TCPConnector(force_close=True)
        try:
            async with aiohttp.ClientSession(connector=connector) as http, asyncio.TaskGroup() as callers:
                await _until_ready(http, url, process)
                until = asyncio.get_running_loop().time() + seconds
                for _ in range(CALLERS):
                    callers.create_task(_call(http, url, sim.room_ids, until, answers))
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await process.wait()
        return sim, answers


def _lines(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    for path in folder.glob(f"{name}.*"):
        yield from map(json.loads, path.read_text().splitlines())


def _metrics(folder: Path) -> dict[str, float]:
    """Return the metrics of all workers: the sum over all labels by name, and by name and result."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    from prometheus_client import CollectorRegistry  # reads the environment when it is imported
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    found: defaultdict[str, float] = defaultdict(float)
    for family in registry.collect():
        for sample in family.samples:
            found[sample.name] += sample.value
            if sample.name == "rooms_attempt_seconds_count":
                found[f"status {sample.labels['result']}"] += sample.value
    return dict(found)


def _figures(folder: Path) -> Mapping[str, Mapping[str, float]]:
    """Return each figure from the metrics, the logs and the traces."""
    metrics, logs, spans = _metrics(folder), [*_lines(folder, "log")], [*_lines(folder, "spans")]
    events = Counter(line["event"] for line in logs)
    in_logs = Counter(str(line["status"] or line["error"]) for line in logs if line["event"] == "AttemptEnded")
    attempts = [span for span in spans if not span["name"].startswith("aiorooms ")]
    in_spans = Counter(str(span.get("http.response.status_code", span.get("error.type"))) for span in attempts)

    def total(event: str, field: str) -> float:
        return sum(float(line[field]) for line in logs if line["event"] == event)

    return {
        "attempts": {
            "metrics": metrics["rooms_attempt_seconds_count"],
            "logs": events["AttemptEnded"],
            "traces": len(attempts),
        },
        **{
            f"answers {status}": {
                "metrics": metrics.get(f"status {status}", 0),
                "logs": in_logs[status],
                "traces": in_spans[status],
            }
            for status in _STATUSES
        },
        "calls": {
            "metrics": metrics["rooms_calls_total"],
            "logs": events["CallEnded"],
            "traces": len(spans) - len(attempts),
        },
        "retries": {"metrics": metrics["rooms_retries_total"], "logs": events["RetryScheduled"]},
        "pauses": {"metrics": metrics.get("rooms_pauses_total", 0), "logs": events["RateLimitPaused"]},
        "seconds of waiting": {"metrics": metrics["rooms_wait_seconds_sum"], "logs": total("AttemptStarted", "waited")},
        "seconds before retries": {
            "metrics": metrics["rooms_retry_delay_seconds_total"],
            "logs": total("RetryScheduled", "delay"),
        },
    }


def main(arguments: Sequence[str]) -> None:
    """Run the service, and print the comparison."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks service", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the service gets requests (60)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures to FILE")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sim, answers = asyncio.run(_observe(cast("float", options.seconds), folder))
        figures = {key: dict(value) for key, value in _figures(folder).items()}
    figures["attempts"]["simulator"] = sim.stats.requests
    for status in _STATUSES:
        figures[f"answers {status}"]["simulator"] = sim.stats.by_status[int(status)]
    # An answer whose body was cut off is no success for the client.
    figures["answers 200"]["simulator"] -= sim.stats.faults["truncated"]
    print(f"{WORKERS} workers, {sum(answers.values()):,} requests to the service, answered {dict(answers)}")
    print(f"{'':<24}{'metrics':>12}{'logs':>12}{'traces':>12}{'simulator':>12}")
    differing = 0
    for figure, values in figures.items():
        cells = [f"{values[place]:,.5g}" if place in values else "" for place in _PLACES]
        same = max(values.values()) - min(values.values()) <= 1e-6 * max(1.0, *values.values())
        differing += not same
        print(f"{figure:<24}" + "".join(f"{cell:>12}" for cell in cells) + ("" if same else "  DIFFERS"))
    if options.json is not None:
        cast("Path", options.json).write_text(json.dumps(figures, indent=2))
    if differing:
        sys.exit(1)


_PLACES: Final = ("metrics", "logs", "traces", "simulator")
