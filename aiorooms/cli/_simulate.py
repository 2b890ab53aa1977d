"""`aiorooms simulate`: the simulator as a program of its own, until Ctrl-C."""

import asyncio
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal

import attrs
import click

from ._command import Command, Context, InvalidInputError
from ._exit_codes import OK
from ._options import MAX_ROOMS, json_option, seed_option, value_option
from ._output import Output, end_ctrl_c_line, flush
from ._run import Interrupted, run
from ._values import one_of, read_api_key, read_rate_limit, read_seconds_or_zero, read_share, whole_number
from ._words import option

if TYPE_CHECKING:
    from ..simulator import RateLimit, RoomsSimulator

__all__ = ["simulate"]


# The simulator knows these words too; but it is not imported for `--help`.
_LIMITERS: Final[tuple[Literal["fixed", "sliding", "bucket"], ...]] = ("fixed", "sliding", "bucket")
_ROUNDINGS: Final[tuple[Literal["fractional", "up", "down"], ...]] = ("fractional", "up", "down")
_RETRY_AFTERS: Final[tuple[Literal["none", "seconds", "date", "ms"], ...]] = ("none", "seconds", "date", "ms")

_LIMIT_OPTIONS: Final = {"limiter": "kind", "reset_rounding": "reset_rounding", "retry_after": "retry_after"}
"""Options that define how a rate limit works, and the fields of `RateLimit`."""

_NO_LIMIT: Final = "there is no rate limit; give one with --rate-limit, such as 100/1s"


def _read_limit(ctx: Context) -> None:
    """Make `limit` from the options about the rate limit; those that say how it works need one."""
    limit: RateLimit | None = ctx.params.pop("rate_limit")
    given = {name: ctx.params.pop(name) for name in _LIMIT_OPTIONS}
    is_silent: bool = ctx.params.pop("no_rate_limit_headers")
    if limit is not None:
        settings = {_LIMIT_OPTIONS[name]: value for name, value in given.items() if value is not None}
        limit = attrs.evolve(limit, headers=not is_silent, **settings)
    elif not ctx.is_invalid("--rate-limit"):
        for name, value in {**given, "no_rate_limit_headers": is_silent or None}.items():
            if value is not None:
                ctx.add_problem(_NO_LIMIT, option(name))
    ctx.params["limit"] = limit


class _Simulate(Command):
    """The command, whose help ends with the kinds of faults that the simulator has."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from ..simulator import fault_descriptions  # late: most commands do without the simulator

        for applied, title in ((False, "Faults that strike before"), (True, "Faults that strike after")):
            with formatter.section(f"{title} a request is carried out; the client sees"):
                formatter.write_dl([*fault_descriptions(applied=applied).items()])
        super().format_epilog(ctx, formatter)


@click.command(cls=_Simulate, steps=[_read_limit])
@value_option("--port", "N", whole_number(0, 65535), "Port to listen on; 0 chooses a free one.", default="8080")
@value_option("--rooms", "N", whole_number(0, MAX_ROOMS), "Rooms in the account.", default="1000")
@value_option(
    "--rate-limit",
    "N/WINDOW",
    read_rate_limit,
    "Requests to accept in a window, such as 100/1s; those above get a 429.  [default: none]",
)
@value_option(
    "--limiter",
    "|".join(_LIMITERS),
    one_of(_LIMITERS),
    "How --rate-limit counts: in windows one after the other, over the last window, or as a bucket that refills"
    " evenly.  [default: fixed]",
)
@value_option(
    "--reset-rounding",
    "|".join(_ROUNDINGS),
    one_of(_ROUNDINGS),
    "How the seconds in x-ratelimit-reset are rounded.  [default: up]",
)
@value_option(
    "--retry-after",
    "|".join(_RETRY_AFTERS),
    one_of(_RETRY_AFTERS),
    "What a 429 carries: nothing, Retry-After in seconds or as a date, or retry-after-ms.  [default: none]",
)
@click.option(
    "--no-rate-limit-headers", is_flag=True, help="Don't report the rate limit: no x-ratelimit-* in the answers."
)
@value_option("--api-key", "KEY", read_api_key, "The key to accept.", default="KEY_simulated")
@value_option("--faults", "SHARE", read_share, "Share of requests to break, such as 0.05 or 5%.", default="0")
@value_option("--latency", "SECONDS", read_seconds_or_zero, "Seconds that each request takes.", default="0")
@seed_option("The same seed gives the same rooms and faults.")
@json_option
def simulate(
    port: int,
    rooms: int,
    limit: "RateLimit | None",
    api_key: str,
    faults: float,
    latency: float,
    seed: int,
    as_json: bool,
) -> int:
    """Run a Telnyx Video Rooms API on this machine, for trials.

    It is a real HTTP server on 127.0.0.1 with rooms in memory. It checks requests as the API does, and answers with the
    API's own status codes and bodies. It breaks requests if asked to: it resets or cuts off connections, stalls,
    answers 5xx or garbage. Ctrl-C or SIGTERM ends it (exit code 0), and it reports what it served.

    The four options after --rate-limit say how it counts and what the answers report of it; they need --rate-limit.

    With --json it writes one object when it is ready: url, api_key, rooms, room_id (of the first room, or null).

    \b
    Examples:
      aiorooms simulate
      aiorooms simulate --port 8080 --rooms 1000 --rate-limit 100/1s --faults 5%
      aiorooms simulate --rate-limit 100/1s --limiter bucket --retry-after ms
    """  # noqa: D301 - click takes a backspace for "leave these lines as they are"
    from ..simulator import Faults, RoomsSimulator  # late: most commands do without the simulator

    simulator = RoomsSimulator(
        rooms=rooms,
        api_key=api_key,
        rate_limit=limit,
        faults=Faults(rate=faults),
        latency=latency,
        seed=seed,
        port=port,
    )
    out = Output(json=as_json)
    ended = asyncio.Event()
    with suppress(Interrupted):  # that is how it ends
        run(_serve(simulator, out, ended), on_stop=ended.set)
    end_ctrl_c_line()
    stats = simulator.stats
    write = out.note if as_json else out.line
    write(
        f"Served: requests {stats.requests:,}, connections {stats.connections:,}, "
        f"updates made {stats.updates_applied.total():,}, rate limited (429) {stats.refused:,}, "
        f"broken {stats.faults.total():,}"
    )
    return OK


async def _serve(simulator: "RoomsSimulator", out: Output, ended: asyncio.Event) -> None:
    try:
        await simulator.start()
    except OSError as error:
        raise InvalidInputError(
            [f"{error.strerror}; choose another port with --port, or any free one with --port 0"]
        ) from None
    try:
        _introduce(simulator, out)
        flush()
        await ended.wait()
    finally:
        await simulator.stop()


def _introduce(simulator: "RoomsSimulator", out: Output) -> None:
    """Write everything that a client needs."""
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
