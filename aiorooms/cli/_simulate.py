"""`aiorooms simulate`: the simulator as a program of its own, until Ctrl-C."""

import asyncio
import shlex
from typing import TYPE_CHECKING

import click

from ._options import BadInputError, Reader, json_option
from ._output import Output, end_echo, flush
from ._run import run
from ._status import OK

if TYPE_CHECKING:
    from ..simulator import RoomsSimulator

__all__ = ["simulate"]


class _Simulate(click.Command):
    """The command, whose help ends with the kinds of faults that the simulator has."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from ..simulator import fault_descriptions  # late: most commands do without the simulator

        for applied, title in ((False, "Faults that strike before"), (True, "Faults that strike after")):
            with formatter.section(f"{title} a request is carried out; the client sees"):
                formatter.write_dl([*fault_descriptions(applied=applied).items()])
        super().format_epilog(ctx, formatter)


@click.command(cls=_Simulate)
@click.option("--port", metavar="N", default="8080", show_default=True, help="Port to listen on; 0 takes any free one.")
@click.option("--rooms", metavar="N", default="1000", show_default=True, help="Rooms in the account.")
@click.option(
    "--rate-limit",
    metavar="N/WINDOW",
    help="Requests to let through in a window, such as 100/1s; those above get a 429.  [default: none]",
)
@click.option(
    "--limiter",
    metavar="fixed|sliding|bucket",
    help="How --rate-limit counts: in windows one after the other, over the last window, or as a bucket that refills"
    " evenly.  [default: fixed]",
)
@click.option(
    "--reset-rounding",
    metavar="fractional|up|down",
    help="How the seconds in x-ratelimit-reset are rounded.  [default: up]",
)
@click.option(
    "--retry-after",
    metavar="none|seconds|date|ms",
    help="What a 429 carries: nothing, Retry-After in seconds or as a date, or retry-after-ms.  [default: none]",
)
@click.option(
    "--no-rate-limit-headers", is_flag=True, help="Keep quiet about the rate limit: no x-ratelimit-* in the answers."
)
@click.option("--api-key", metavar="KEY", default="KEY_simulated", show_default=True, help="The key to accept.")
@click.option(
    "--faults",
    metavar="SHARE",
    default="0",
    show_default=True,
    help="Share of requests to break, such as 0.05 or 5%; see the kinds below.",
)
@click.option("--latency", metavar="SECONDS", default="0", show_default=True, help="Time that each request takes.")
@click.option(
    "--seed", metavar="N", default="0", show_default=True, help="The same seed gives the same rooms and faults."
)
@json_option
def simulate(
    port: str,
    rooms: str,
    rate_limit: str | None,
    limiter: str | None,
    reset_rounding: str | None,
    retry_after: str | None,
    no_rate_limit_headers: bool,
    api_key: str,
    faults: str,
    latency: str,
    seed: str,
    as_json: bool,
) -> int:
    """Run a Telnyx Video Rooms API on this machine, to try things on.

    It is a real HTTP server on 127.0.0.1 with rooms in memory. It checks what it is sent as the API does, and answers
    with the API's own status codes and bodies. It breaks requests if asked to: it resets or cuts off connections,
    stalls, answers 5xx or garbage. Ctrl-C or SIGTERM ends it (exit code 0), and it tells what it served.

    The four options after --rate-limit say how it is counted and what the answers tell of it; they need one.

    With --json it writes one object when it is ready: url, api_key, rooms, room_id (of the first room, or null).

    \b
    Examples:
      aiorooms simulate
      aiorooms simulate --port 8080 --rooms 1000 --rate-limit 100/1s --faults 5%
      aiorooms simulate --rate-limit 100/1s --limiter bucket --retry-after ms
    """  # noqa: D301 - click takes a backspace for "leave these lines as they are"
    reader = Reader()
    number = reader.whole_number("--port", port, range(65536))
    room_count = reader.rooms(rooms, least=0)
    limit = reader.rate_limit(
        rate_limit,
        limiter=limiter,
        reset_rounding=reset_rounding,
        retry_after=retry_after,
        headers=not no_rate_limit_headers,
    )
    if not (api_key and api_key.isascii() and api_key.isprintable() and " " not in api_key):
        reader.wrong("a key is made of printable ASCII characters, without blanks", "--api-key")
    share = reader.share("--faults", faults)
    seconds = reader.seconds("--latency", latency, zero=True)
    seed_number = reader.whole_number("--seed", seed, range(1_000_000_000))
    reader.refuse()
    assert number is not None
    assert share is not None
    assert seconds is not None
    assert seed_number is not None
    from ..simulator import Faults, RoomsSimulator  # late: most commands do without the simulator

    simulator = RoomsSimulator(
        rooms=room_count,
        api_key=api_key,
        rate_limit=limit,
        faults=Faults(rate=share),
        latency=seconds,
        seed=seed_number,
        port=number,
    )
    out = Output(json=as_json)
    ended = asyncio.Event()
    run(lambda: _serve(simulator, out, ended), on_stop=ended.set)
    end_echo()
    stats = simulator.stats
    tell = out.note if as_json else out.line
    tell(
        f"Served: requests {stats.requests:,}, connections {stats.connections:,}, "
        f"updates made {stats.updates_applied.total():,}, refused (429) {stats.refused:,}, "
        f"broken {stats.faults.total():,}"
    )
    return OK


async def _serve(simulator: "RoomsSimulator", out: Output, ended: asyncio.Event) -> None:
    try:
        await simulator.start()
    except OSError as error:
        raise BadInputError(
            [f"{error.strerror}; choose another port with --port, or any free one with --port 0"]
        ) from None
    try:
        _introduce(simulator, out)
        flush()
        await ended.wait()
    finally:
        await simulator.stop()


def _introduce(simulator: "RoomsSimulator", out: Output) -> None:
    """Tell everything that one needs to speak to it."""
    url, key = simulator.url, simulator.api_key
    room_id = next(iter(simulator.room_ids), None)
    if out.json:
        out.data({"url": url, "api_key": key, "rooms": len(simulator.rooms), "room_id": room_id})
        return
    header = shlex.quote(f"Authorization: Bearer {key}")
    out.line(f"Simulating the Telnyx Video Rooms API at {url}")
    out.line("")
    out.line(f"  Rooms    {len(simulator.rooms):,}")
    out.line(f"  API key  {key}")
    out.line(f"  A room   {room_id or '-'}")
    out.line("")
    out.line("Ask it something:")
    out.line(f"  curl -H {header} {url}/rooms{'' if room_id is None else '/' + room_id}")
    out.line("")
    out.line("Use it from another shell (Ctrl-C ends it here):")
    out.line(f"  export TELNYX_API_KEY={shlex.quote(key)}")
    out.line(f"  export TELNYX_BASE_URL={url}")
    out.line("  aiorooms list" if room_id is None else f"  aiorooms update {room_id} --max-participants 20")
