"""`aiorooms demo`: a bulk update against the simulator, for everybody to see, without account, key or network."""

import math
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import click

from ..client import RoomsClient
from ..models import RoomUpdate, UpdateStatus
from ._json import JsonValue
from ._options import Reader, json_option
from ._output import Output, complain, flush
from ._run import run
from ._status import FAILED, INTERRUPTED, OK

if TYPE_CHECKING:
    from ..simulator import RoomsSimulator
    from ._progress import Bar

__all__ = ["demo"]

_URL: Final = "https://hooks.example.com/rooms"
_FAILOVER_URL: Final = "https://failover.example.net/rooms"

_CONCURRENCY: Final = 50

_FAULTY_TRIES: Final = 2
"""Only the first tries of a room are broken, as the faults of a real network pass too."""

_STALL: Final = 1.0
"""Seconds; a demo has no patience for the simulator's usual ones."""


@click.command()
@click.option("--rooms", metavar="N", default="2000", show_default=True, help="Rooms in the account.")
@click.option(
    "--rate-limit",
    metavar="N/WINDOW",
    default="400/1s",
    show_default=True,
    help="Requests that the server lets through in a window, or none.",
)
@click.option(
    "--faults", metavar="SHARE", default="5%", show_default=True, help="Share of requests that the server breaks."
)
@click.option("--seed", metavar="N", default="0", show_default=True, help="Another seed breaks other requests.")
@json_option
def demo(rooms: str, rate_limit: str, faults: str, seed: str, as_json: bool) -> int:
    """See a bulk update: no account, no key and no network needed.

    A simulated Telnyx server starts inside this program. It has 2,000 rooms and a rate limit, and it breaks some
    requests: it resets connections, answers 5xx or garbage, or carries out an update and loses the answer. All rooms
    are moved to a new webhook URL and failover URL, and then the server is asked whether they really have been.

    \b
    Examples:
      aiorooms demo
      aiorooms demo --faults 50%
      aiorooms demo --rooms 10000 --rate-limit none --json
    """  # noqa: D301 - click takes a backspace for "leave these lines as they are"
    reader = Reader()
    room_count = reader.rooms(rooms, least=1)
    limit = reader.rate_limit(rate_limit)
    share = reader.share("--faults", faults)
    number = reader.whole_number("--seed", seed, range(1_000_000_000))
    reader.refuse()
    assert share is not None
    assert number is not None
    from rich.text import Text  # late: most commands do without it

    from ..simulator import Faults, RoomsSimulator  # late: most commands do without the simulator

    simulator = RoomsSimulator(
        rooms=room_count,
        rate_limit=limit,
        faults=Faults(rate=share, first_tries=_FAULTY_TRIES, stall_seconds=_STALL),
        seed=number,
    )
    out = Output(json=as_json)
    if not as_json:
        limited = "no rate limit" if limit is None else f"at most {limit.limit:,} requests in {limit.window:g} s"
        out.draw(Text(f"Moving {room_count:,} rooms to a new webhook URL and failover URL.", style="bold"))
        out.line(f"The server is simulated: {limited}, {share * 100:g}% of them broken.\n")
        flush()
    move = Move(simulator)
    with out.progress(room_count) as bar:
        interrupted = run(lambda: move.run(bar))
    if interrupted:
        complain(f"interrupted after {move.done:,} of {room_count:,} updates")
        return INTERRUPTED
    move.verify()
    if as_json:
        out.data({**move.figures(), "seed": number})
    else:
        if bar is not None:
            out.line("")
        _show(move, out)
    return OK if move.counts["updated"] == move.verified == room_count else FAILED


class Move:
    """Moves all rooms of a simulator, and keeps the figures."""

    def __init__(self, simulator: "RoomsSimulator") -> None:
        self.simulator = simulator
        self.counts: Counter[UpdateStatus] = Counter()
        self.retried = 0
        self.seconds = 0.0
        self.latencies: list[float] = []
        self.verified = 0
        """Rooms that have both new URLs on the server."""

    @property
    def done(self) -> int:
        """Updates that have an outcome."""
        return self.counts.total()

    async def run(self, bar: "Bar | None") -> None:
        """Start the simulator, update all of its rooms, and stop it."""
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
                        bar.done += 1
                        bar.failed += result.status in ("failed", "uncertain")
            self.seconds = time.perf_counter() - began
        self.latencies.sort()

    def verify(self) -> None:
        """Count the rooms that really have both new URLs."""
        rooms = self.simulator.rooms.values()
        self.verified = sum(
            (room["webhook_event_url"], room["webhook_event_failover_url"]) == (_URL, _FAILOVER_URL) for room in rooms
        )

    def figures(self) -> dict[str, JsonValue]:
        """Give everything as JSON data; times in seconds."""
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
    """Give the value that `share` percent of the sorted ones do not exceed (nearest rank)."""
    return latencies[max(0, math.ceil(len(latencies) * share / 100) - 1)]


def _show(move: Move, out: Output) -> None:
    from rich.table import Table  # late: what is not drawn needs no rich
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
    table.add_row("refused", f"{stats.refused:,}", "requests over the rate limit (429)")
    table.add_row("broken", f"{stats.faults.total():,}", "requests that met a fault")
    table.add_row("time", f"{move.seconds:.1f} s")
    table.add_row("updates/s", f"{counts['updated'] / move.seconds:,.0f}")
    notes = ("from taking up an update to its outcome,", "waits for the rate limit and for retries included", "")
    for share, note in zip((50, 95, 99), notes, strict=True):
        table.add_row(f"latency p{share}", _duration(percentile(move.latencies, share)), note)
    out.draw(table)
    out.line("")
    if move.verified == move.done:
        out.draw(Text(f"Verified: all {move.done:,} rooms on the server have both new URLs.", style="bold green"))
    else:
        missing = move.done - move.verified
        out.draw(Text(f"Not verified: {missing:,} of {move.done:,} rooms lack the new URLs.", style="bold red"))
    out.line("Next: try commands on `aiorooms simulate`, or see `aiorooms update --help`.")


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
