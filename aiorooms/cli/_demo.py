"""`aiorooms demo`: a bulk update against the simulator, without an account, key or network."""

import math
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import click

from ..client import RoomsClient
from ..models import RoomUpdate
from ._command import Command
from ._exit_codes import FAILED, OK
from ._json import JsonValue
from ._options import MAX_ROOMS, json_option, seed_option, value_option
from ._output import Output, flush
from ._run import Interrupted, run
from ._values import read_rate_limit, read_share, whole_number

if TYPE_CHECKING:
    from ..simulator import RateLimit, RoomsSimulator
    from ._progress import Bar

__all__ = ["demo"]

_URL: Final = "https://hooks.example.com/rooms"
_FAILOVER_URL: Final = "https://failover.example.net/rooms"

_CONCURRENCY: Final = 50

_FAULTY_ATTEMPTS: Final = 2
"""For each method and room, only the first 2 requests can get a fault, because real faults are temporary too."""

_STALL: Final = 1.0
"""Duration of a stall in seconds. The simulator's default of 30 seconds would make the demo too long."""


@click.command(cls=Command)
@value_option("--rooms", "N", whole_number(1, MAX_ROOMS), "Number of rooms, 1 to 1000000.", default="2000")
@value_option(
    "--rate-limit",
    "N/WINDOW",
    read_rate_limit,
    "Rate limit of the server, in requests per window (ms, s, m or h), or none.",
    to="limit",
    default="400/1s",
)
@value_option(
    "--faults",
    "SHARE",
    read_share,
    "Share of requests to break, 0 to 1 or 0% to 100%. Only the first two updates and the first two reads of a room"
    " can be broken.",
    default="5%",
)
@seed_option("Seed of the faults, 0 to 999999999. Another seed breaks different requests.")
@json_option
def demo(rooms: int, limit: "RateLimit | None", faults: float, seed: int, as_json: bool) -> int:
    """Try a bulk update without an account, key or network.

    A simulated Telnyx server starts inside this program. By default, it has 2,000 rooms and a rate limit, and breaks
    some requests: it resets the connection, answers with a 5xx or garbage, or carries out an update and loses the
    answer. The demo moves all rooms to a new webhook URL and failover URL, and then verifies every room on the server.

    \b
    Examples:
      aiorooms demo
      aiorooms demo --faults 50%
      aiorooms demo --rooms 10000 --rate-limit none --json
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    from rich.text import Text  # imported here, because most commands don't need it

    from ..simulator import Faults, RoomsSimulator  # imported here, because most commands don't need it

    simulator = RoomsSimulator(
        rooms=rooms,
        rate_limit=limit,
        faults=Faults(rate=faults, first_tries=_FAULTY_ATTEMPTS, stall_seconds=_STALL),
        seed=seed,
    )
    out = Output(json=as_json)
    if not as_json:
        limited = "no rate limit" if limit is None else f"at most {limit.limit:,} requests in {limit.window:g} s"
        out.draw(Text(f"Moving {rooms:,} rooms to a new webhook URL and failover URL.", style="bold"))
        out.line(f"The server is simulated: {limited}, and a fault rate of {faults * 100:g}%.")
        out.line("")
        flush()
    move = Move(simulator)
    with out.progress(rooms) as bar:
        try:
            run(move.run(bar))
        except Interrupted:
            raise Interrupted(f"interrupted after {move.done:,} of {rooms:,} updates") from None
    move.verify()
    if as_json:
        out.data({**move.json_data(), "seed": seed})
    else:
        if bar is not None:
            out.line("")
        _show(move, out)
    return OK if move.counts["updated"] == move.verified == rooms else FAILED


class Move:
    """Moves all rooms of a simulator to the new URLs, and measures the run."""

    def __init__(self, simulator: "RoomsSimulator") -> None:
        self.simulator = simulator
        self.counts: Counter[str] = Counter()
        self.retried = 0
        self.seconds = 0.0
        self.latencies: list[float] = []
        self.verified = 0
        """Number of rooms that have both new URLs on the server."""

    @property
    def done(self) -> int:
        """Number of updates that have an outcome."""
        return self.counts.total()

    async def run(self, bar: "Bar | None") -> None:
        """Start the simulator, update all of its rooms, and stop the simulator."""
        change = RoomUpdate(webhook_event_url=_URL, webhook_event_failover_url=_FAILOVER_URL)
        simulator = self.simulator
        async with simulator, RoomsClient(simulator.api_key, base_url=simulator.url) as client:
            if bar is not None:
                bar.pacing = client.pacing.snapshot
            updates = ((room_id, change) for room_id in simulator.room_ids)
            began = time.perf_counter()
            async with aclosing(client.rooms.update_many(updates, concurrency=_CONCURRENCY)) as results:
                async for result in results:
                    self.counts[result.status] += 1
                    self.retried += result.attempts > 1
                    self.latencies.append(result.elapsed)
                    if bar is not None:
                        bar.show(self.counts)
            self.seconds = time.perf_counter() - began
        self.latencies.sort()

    def verify(self) -> None:
        """Count the rooms that have both new URLs on the server."""
        rooms = self.simulator.rooms.values()
        self.verified = sum(
            (room["webhook_event_url"], room["webhook_event_failover_url"]) == (_URL, _FAILOVER_URL) for room in rooms
        )

    def json_data(self) -> dict[str, JsonValue]:
        """Return all measurements as JSON data, with times in seconds."""
        stats = self.simulator.stats
        return {
            "rooms": self.done,
            "updated": self.counts["updated"],
            "failed": self.counts["failed"],
            "uncertain": self.counts["uncertain"],
            "skipped": self.counts["skipped"],
            "verified": self.verified,
            "retried": self.retried,
            "refused": stats.refused,
            "broken": stats.faults.total(),
            "requests": stats.requests,
            "seconds": round(self.seconds, 3),
            "updates_per_second": round(self.counts["updated"] / self.seconds, 1),
            "latency": {f"p{share}": round(percentile(self.latencies, share), 6) for share in (50, 95, 99)},
        }


def percentile(latencies: Sequence[float], share: int) -> float:
    """Return the `share`th percentile of sorted latencies, by nearest rank."""
    return latencies[max(0, math.ceil(len(latencies) * share / 100) - 1)]


def _show(move: Move, out: Output) -> None:
    from rich.table import Table  # imported here, because only drawing needs rich
    from rich.text import Text

    counts = move.counts
    stats = move.simulator.stats
    table = Table.grid(padding=(0, 0, 0, 2), pad_edge=True)
    table.add_column()
    table.add_column(justify="right", style="bold")
    table.add_column(style="dim")
    table.add_row("updated", Text(f"{counts['updated']:,}", style="green"))
    table.add_row("failed", Text(f"{counts['failed']:,}", style="red" if counts["failed"] else "green"))
    if counts["uncertain"]:
        table.add_row("uncertain", Text(f"{counts['uncertain']:,}", style="red"), "may have been updated")
    if counts["skipped"]:
        table.add_row("skipped", Text(f"{counts['skipped']:,}", style="red"), "not sent")
    table.add_row("retried", f"{move.retried:,}", "updates that took more than one attempt")
    table.add_row("rate limited", f"{stats.refused:,}", "requests over the rate limit (429)")
    table.add_row("broken", f"{stats.faults.total():,}", "requests with a fault")
    table.add_row("time", f"{move.seconds:.1f} s")
    table.add_row("updates/s", f"{counts['updated'] / move.seconds:,.0f}")
    notes = ("from dequeue to outcome,", "including waits for the rate limit and for retries", "")
    for share, note in zip((50, 95, 99), notes, strict=True):
        table.add_row(f"latency p{share}", _duration(percentile(move.latencies, share)), note)
    out.draw(table)
    out.line("")
    if move.verified == move.done:
        out.draw(Text(f"Verified: all {move.done:,} rooms on the server have both new URLs.", style="bold green"))
    else:
        missing = move.done - move.verified
        out.draw(Text(f"Not verified: {missing:,} of {move.done:,} rooms don't have both new URLs.", style="bold red"))
    out.line("Next: try `aiorooms simulate`, or read `aiorooms update --help`.")


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
