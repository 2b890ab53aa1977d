"""`aiorooms simulate`: run the simulator as a server, until Ctrl-C."""

import asyncio
import errno
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import attrs
import click
from click.core import ParameterSource

from ..bulk._sources.room_file import RoomFields, read_rooms
from ..errors import BulkInputError
from ._command import Command, Context, InvalidInputError, Value
from ._exit_codes import OK
from ._options import FILE, MAX_ROOMS, json_option, seed_option, value_option
from ._output import Output, flush
from ._run import Interrupted, run
from ._simulate_output import Banner, show_changes, totals
from ._stderr import end_ctrl_c_line
from ._streams import is_standard, standard_input
from ._values import (
    one_of,
    read_api_key,
    read_duration,
    read_host,
    read_rate,
    read_rate_limit,
    read_share,
    whole_number,
)
from ._words import option_name

if TYPE_CHECKING:
    from ..simulator import RateLimit, RoomsSimulator
    from ..simulator._control import Control

__all__ = ["OTHER_HOST", "OTHER_PORT", "simulate"]


# The simulator defines these values too. They are repeated here because every command imports this module, but only
# `demo` and `simulate` need to import the simulator.
_LIMITERS: Final[tuple[Literal["fixed", "sliding", "bucket"], ...]] = ("fixed", "sliding", "bucket")
_ROUNDINGS: Final[tuple[Literal["fractional", "up", "down"], ...]] = ("fractional", "up", "down")
_RETRY_AFTERS: Final[tuple[Literal["none", "seconds", "date", "ms"], ...]] = ("none", "seconds", "date", "ms")

_WEBHOOKS: Final[tuple[Literal["same", "mixed"], ...]] = ("same", "mixed")

_LIMIT_OPTIONS: Final = {"limiter": "kind", "reset_rounding": "reset_rounding", "retry_after": "retry_after"}
"""Options that modify the rate limit. The values are the fields of `RateLimit` that the options set."""

_NO_LIMIT: Final = "there is no rate limit to change; give one with --rate-limit, such as 100/1s"

_MAX_STEPS: Final = 1000.0
_DEFAULT_STEPS: Final = 2.0
_NOT_LIVELY: Final = "it needs --lively"

OTHER_PORT: Final = "choose another port with --port, or use --port 0 for a free one"
OTHER_HOST: Final = "give an address or the name of this machine with --host, such as 127.0.0.1 or 0.0.0.0"
_OTHER_CONTROL_PORT: Final = "choose another port with --control-port, or use --control-port 0 for a free one"


def _read_limit(ctx: Context) -> None:
    """Set `limits` from all options about the rate limit. Without `--rate-limit`, the other ones are invalid."""
    limits: list[RateLimit | None] = [*ctx.params.pop("rate_limit")]
    given = {name: ctx.params.pop(name) for name in _LIMIT_OPTIONS}
    no_headers: bool = ctx.params.pop("no_rate_limit_headers")
    ctx.params["limits"] = []
    if ctx.is_invalid("--rate-limit"):
        return
    if None in limits and len(limits) > 1:
        ctx.add_problem("none can't be combined with a limit; omit one of the two", "--rate-limit")
    settings = {_LIMIT_OPTIONS[name]: value for name, value in given.items() if value is not None}
    found = [attrs.evolve(limit, headers=not no_headers, **settings) for limit in limits if limit is not None]
    if not found:
        for name, value in {**given, "no_rate_limit_headers": no_headers or None}.items():
            if value is not None:
                ctx.add_problem(_NO_LIMIT, option_name(name))
    ctx.params["limits"] = found


def _read_steps(text: str) -> float:
    """Read the number of steps of lively sessions per second."""
    if (steps := read_rate(text)) > _MAX_STEPS:
        raise ValueError(f"{steps:g} is more than {_MAX_STEPS:g} steps per second")
    return steps


def _read_lively(ctx: Context) -> None:
    """Set `lively` to the number of steps per second, or to 0. Without `--lively`, a rate is invalid."""
    rate: float | None = ctx.params.pop("lively_rate")
    if not ctx.params["lively"] and rate is not None:
        ctx.add_problem(_NOT_LIVELY, "--lively-rate")
    ctx.params["lively"] = (rate or _DEFAULT_STEPS) if ctx.params["lively"] else 0.0


def _read_rooms(ctx: Context) -> None:
    """If the file `source` is given, replace `rooms` by its rooms, and reject options for generated rooms."""
    source: Path | None = ctx.params["source"]
    if source is None:
        return
    for name in ("rooms", "webhooks"):
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            ctx.add_problem("it is about generated rooms; omit it, or omit --from", option_name(name))
    try:
        ctx.params["rooms"] = read_rooms(standard_input("rooms") if is_standard(source) else source)
    except BulkInputError as error:
        for problem in error.problems:
            ctx.add_problem(str(problem))


class _Simulate(Command):
    """The command `simulate`. Its help lists the kinds of faults at the end."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from ..simulator import fault_descriptions  # imported here, because most commands don't need it

        for applied, title in ((False, "that are not carried out"), (True, "that are carried out")):
            with formatter.section(f"Faults of requests {title}, as the client sees them"):
                formatter.write_dl([*fault_descriptions(applied=applied).items()])
        super().format_epilog(ctx, formatter)


@click.command(cls=_Simulate, steps=[_read_limit, _read_lively, _read_rooms])
@value_option("--port", "N", whole_number(0, 65535), "TCP port to listen on; 0 chooses a free port.", default="8080")
@value_option(
    "--host",
    "HOST",
    read_host,
    "Address or name of this machine to listen on; 0.0.0.0 also accepts requests from other machines.",
    default="127.0.0.1",
)
@value_option(
    "--control-port",
    "N",
    whole_number(0, 65535),
    "TCP port, on 127.0.0.1, of the URL that changes the simulator while it runs; 0 chooses a free port.",
    default="0",
)
@value_option("--rooms", "N", whole_number(0, MAX_ROOMS), "Number of rooms, 0 to 1000000.", default="1000")
@click.option(
    "--from",
    "source",
    metavar="FILE",
    type=FILE,
    help="File with the rooms: an export, the output of `list --json` or a saved answer of the API; - is standard"
    " input.  [default: generate rooms]",
)
@click.option(
    "--rate-limit",
    metavar="N/WINDOW",
    type=Value(read_rate_limit),
    multiple=True,
    help="Rate limit in requests per window (ms, s, m or h), such as 100/1s, or none. Can be given more than once: "
    "then all limits apply.  [default: none]",
)
@value_option(
    "--limiter",
    "|".join(_LIMITERS),
    one_of(_LIMITERS),
    "How to limit requests: with fixed windows, a sliding window or a token bucket.  [default: fixed]",
)
@value_option(
    "--reset-rounding",
    "|".join(_ROUNDINGS),
    one_of(_ROUNDINGS),
    "How to round the seconds in x-ratelimit-reset.  [default: up]",
)
@value_option(
    "--retry-after",
    "|".join(_RETRY_AFTERS),
    one_of(_RETRY_AFTERS),
    "Header to send with a 429: none, Retry-After in seconds or as a date, or retry-after-ms.  [default: none]",
)
@click.option("--no-rate-limit-headers", is_flag=True, help="Send no x-ratelimit-* headers.  [default: send them]")
@value_option("--api-key", "KEY", read_api_key, "API key that the server accepts.", default="KEY_simulated")
@value_option("--faults", "SHARE", read_share, "Share of requests to break, 0 to 1 or 0% to 100%.", default="0")
@value_option(
    "--webhooks",
    "|".join(_WEBHOOKS),
    one_of(_WEBHOOKS),
    "Webhook settings of the rooms: all the same, or mixed, with the mistakes that an audit finds.",
    default="same",
)
@click.option(
    "--lively",
    is_flag=True,
    help="Start and end sessions at random, with participants who join and leave.  [default: no sessions]",
)
@value_option(
    "--lively-rate",
    "N",
    _read_steps,
    "With --lively, number of steps per second, such as a join, 0.001 to 1000.  [default: 2]",
)
@click.option(
    "--deliver-anywhere",
    is_flag=True,
    help="Also deliver webhook events to other machines.  [default: only to loopback addresses]",
)
@value_option(
    "--odd-events",
    "SHARE",
    read_share,
    "Share of webhook events to repeat, to reorder and to format unusually, 0 to 1 or 0% to 100%.",
    default="0",
)
@value_option("--latency", "TIME", read_duration(0), "Delay added to each request, such as 0.2 or 200ms.", default="0s")
@seed_option("Seed of the rooms and faults, 0 to 999999999.")
@json_option
def simulate(
    port: int,
    host: str,
    control_port: int,
    rooms: "int | list[RoomFields]",
    source: Path | None,
    limits: "list[RateLimit]",
    api_key: str,
    faults: float,
    webhooks: Literal["same", "mixed"],
    lively: float,
    deliver_anywhere: bool,
    odd_events: float,
    latency: float,
    seed: int,
    as_json: bool,
) -> int:
    """Run a simulated Telnyx Video Rooms API on this machine.

    The simulator is a real HTTP server with rooms in memory. It checks requests as the API does, and
    answers with the API's own status codes and bodies. With --faults, it breaks some requests: it resets or closes
    connections, stalls, or answers with a 5xx or garbage. Ctrl-C or SIGTERM stops the server. The command then writes
    the totals, and exits with code 0.

    With --from, you can rehearse a change with your own rooms: plan, apply and roll it back against the simulator. The
    rooms keep their ids, values and times, even values that the API would reject today.

    \b
    Examples:
      aiorooms simulate
      aiorooms simulate --from rooms.csv --rate-limit 100/1s
      aiorooms simulate --port 8080 --rooms 1000 --rate-limit 100/1s --faults 5%
      aiorooms simulate --rate-limit 100/1s --limiter bucket --retry-after ms
      aiorooms simulate --rate-limit 10/1s --rate-limit 1000/1h
      aiorooms simulate --webhooks mixed
      aiorooms simulate --rooms 10 --lively --odd-events 10%
      aiorooms simulate --host 0.0.0.0 --control-port 8081

    These options need --rate-limit: --limiter, --reset-rounding, --retry-after, --no-rate-limit-headers.

    The control URL shows and changes the simulator while it runs, even during an outage, and only from this machine. It
    needs no API key. A GET returns the settings and counters as JSON. A PATCH sends a JSON object with any of the keys
    rate_limit (such as "50/1s"), faults (such as 0.1), outage ("closed", "503", "reset" or "hang"), latency (in
    seconds) and api_key. null turns a setting off. An invalid PATCH gets a 422 with all problems, and changes nothing.

    The simulator delivers webhook events to a room's webhook URL, and to its failover URL if that fails. With --lively,
    sessions take place in the rooms whose webhook URL is on loopback, or in all rooms if there is none. The events are
    signed with a key that depends on --seed. The public key is among the variables to export. Without the package
    cryptography (pip install 'aiorooms[webhooks]'), the events are unsigned.

    With --json, the command writes one object when the server is ready. The object has the keys url, remote_url (the
    URL for other machines, or null), control_url, api_key, public_key (which verifies events, or null if they are
    unsigned), rooms (the number of rooms), room_id (the id of the first room, or null), receiver_url (a webhook URL
    that accepts every event), webhooks (same, mixed or file), lively (steps per second, or 0), deliver_anywhere and
    odd_events. Its keys rate_limit (with kind and headers), faults (with rate and kinds) and latency are those of the
    control URL.
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    from ..simulator import Deliveries, Faults, RoomsSimulator  # imported here, because most commands don't need it
    from ..simulator._control import Control

    simulator = RoomsSimulator(
        rooms=rooms,
        api_key=api_key,
        rate_limit=limits[0] if len(limits) == 1 else limits,
        faults=Faults(rate=faults),
        latency=latency,
        seed=seed,
        host=host,
        port=port,
        webhooks=webhooks,
        deliveries=Deliveries(
            repeat=odd_events, reorder=odd_events, quirks=odd_events, deliver_anywhere=deliver_anywhere
        ),
        lively=lively,
    )
    out = Output(json=as_json)
    ended = asyncio.Event()

    async def serve() -> None:
        control = Control(simulator, show_changes)
        async with _running(simulator, control, control_port=control_port):
            banner = Banner(simulator, host, webhooks if source is None else "file", control.url)
            banner.warn()
            banner.write(out)
            flush()
            await ended.wait()

    with suppress(Interrupted):  # a signal is the normal way to stop the simulator
        run(serve(), on_stop=ended.set)
    end_ctrl_c_line()
    write = out.note if as_json else out.line
    write(totals(simulator))
    return OK


@asynccontextmanager
async def _running(simulator: "RoomsSimulator", control: "Control", *, control_port: int) -> "AsyncGenerator[None]":
    """Open both ports while the block runs. Raise `InvalidInputError` if one can't be opened."""
    try:
        await simulator.start()
    except OSError as error:
        is_port = error.errno in (errno.EADDRINUSE, errno.EACCES)
        raise InvalidInputError([f"{error.strerror}; {OTHER_PORT if is_port else OTHER_HOST}"]) from None
    try:
        try:
            await control.start(control_port)
        except OSError as error:
            raise InvalidInputError([f"{error.strerror}; {_OTHER_CONTROL_PORT}"]) from None
        try:
            yield
        finally:
            await control.stop()
    finally:
        await simulator.stop()
