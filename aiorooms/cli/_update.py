"""`aiorooms update`: make the same change to one room or many, and report every outcome, even after Ctrl-C."""

from collections.abc import Iterator, Sequence
from contextlib import aclosing
from typing import Final

import click

from .._checks import text_message
from ..bulk._apply import OUTAGE_PATIENCE
from ..client import RoomsClient
from ..errors import InvalidRequestError
from ..models import FIELD_NAMES, RoomUpdate, UpdateResult, UpdateStatus
from ..models._fields import read_value
from ..resources._update_many import UpdateRun
from ._breaker import Breaker
from ._bulk_options import (
    BULK_SECTIONS,
    MAX_FAILURES,
    concurrency_option,
    dry_run_option,
    max_failures_option,
    no_breaker_option,
    outage_patience_option,
    patience_of,
    rate_option,
    reject_dry_run,
    retries_option,
    shared_pacing_option,
)
from ._command import Command, Context, Value
from ._escaping import field_text
from ._json import JsonValue, dumps, result_data
from ._many import ManyUpdates
from ._options import (
    api_options,
    make_client,
    policy_option,
    read_policy,
    value_option,
)
from ._output import MAX_ROOM_LINES, Output
from ._stderr import print_error
from ._streams import is_standard, standard_input
from ._values import read_room_id, whole_number
from ._watch import stats_option
from ._words import error_line, option_name

__all__ = ["update"]

# --- input ---


def _room_id(text: str) -> str:
    return text if is_standard(text) else read_room_id(text)


def _read_rooms(ctx: Context) -> None:
    """Set `room_ids` from the arguments and standard input, and `duplicates` to the number of duplicates dropped."""
    given: tuple[str | None, ...] = ctx.params.pop("given")
    if not given:
        ctx.add_problem(
            "ROOM_ID is missing: give room ids, or - to read them from standard input; see `aiorooms update --help`"
        )
    ids = [text for text in given if text is not None and not is_standard(text)]
    if any(map(is_standard, given)):
        ids += _read_standard_input(ctx)
    # Ids are case-insensitive.
    rooms: dict[str, str] = {}
    for text in ids:
        rooms.setdefault(text.lower(), text)
    ctx.params["room_ids"] = list(rooms.values())
    ctx.params["duplicates"] = len(ids) - len(rooms)


def _read_standard_input(ctx: Context) -> list[str]:
    ids: list[str] = []
    is_empty = True
    try:
        for number, line in enumerate(standard_input("room ids, one on each line,"), 1):
            # Files from Windows may begin with a byte order mark.
            text = line.decode("utf-8-sig" if number == 1 else "utf-8", "replace").strip()
            if text:
                is_empty = False
                try:
                    ids.append(read_room_id(text))
                except ValueError as error:
                    ctx.add_problem(str(error), f"standard input, line {number:,}")
    except OSError as error:
        ctx.add_problem(f"reading failed: {error.strerror}", "standard input")
        return ids
    if is_empty:
        ctx.add_problem("there are no room ids; give one on each line", "standard input")
    return ids


def _read_change(ctx: Context) -> None:
    """Set `change` from the options for the writable fields."""
    given: dict[str, object] = {}
    for name in FIELD_NAMES:
        if (value := ctx.params.pop(name)) is not None:
            given[name] = read_value(name, value) if isinstance(value, str) else value
    if not given:
        ctx.add_problem(f"there is nothing to change; give at least one of {', '.join(map(option_name, FIELD_NAMES))}")
        return
    if "unique_name" in given and (count := len(ctx.params["room_ids"])) > 1:
        ctx.add_problem(f"a unique name belongs to only one room, but {count:,} rooms were given", "--unique-name")
    try:
        ctx.params["change"] = RoomUpdate.from_dict(given, webhook_url_policy=ctx.params["policy"])
    except InvalidRequestError as error:
        for problem in error.problems:
            ctx.add_problem(text_message(problem), "" if problem.field is None else option_name(problem.field))


def _accept_old_name(ctx: Context) -> None:
    """Read `--stop-after-failures`, the old name of `--max-failures`."""
    if (number := ctx.params.pop("stop_after_failures")) is not None:
        print_error("--stop-after-failures is deprecated; use --max-failures")
        ctx.params["max_failures"] = ctx.params["max_failures"] or number


# --- the command ---


_STEPS: Final = [
    reject_dry_run("`aiorooms plan` and `aiorooms show` show what changes, and nothing was sent"),
    _accept_old_name,
    read_policy,
    _read_rooms,
    _read_change,
    make_client,
]


_SECTIONS: Final = {
    "New values": tuple(map(option_name, FIELD_NAMES)),
    "How far it goes": ("--max-failures", "--no-breaker"),
    "Speed and patience": BULK_SECTIONS["Speed and patience"],
    "Server": ("--base-url", "--allow-insecure-http", "--proxy"),
    "Input and output": ("--policy", "--json", "--verbose"),
}
"""The options in `--help`."""


@click.command(cls=Command, steps=_STEPS, sections=_SECTIONS)
@click.argument("given", metavar="ROOM_ID...", nargs=-1, type=Value(_room_id))
@click.option("--unique-name", metavar="NAME", help="Name, unique within the account.  [default: unchanged]")
@click.option("--max-participants", metavar="N", help="Maximum number of participants, 2 to 50.  [default: unchanged]")
@click.option(
    "--enable-recording/--no-enable-recording", default=None, help="Whether to record sessions.  [default: unchanged]"
)
@click.option("--webhook-event-url", metavar="URL", help="Where the API sends events.  [default: unchanged]")
@click.option(
    "--webhook-event-failover-url",
    metavar="URL|null",
    help="Where the API sends events if the webhook URL fails; null clears the field.  [default: unchanged]",
)
@click.option(
    "--webhook-timeout-secs",
    metavar="N|null",
    help="Timeout of a webhook request in seconds, 0 to 30; null clears the field.  [default: unchanged]",
)
@policy_option
@concurrency_option
@max_failures_option(" A 401 or 403, or a rate limit pause of over 300 s always stops the run.")
@no_breaker_option
@retries_option
@outage_patience_option("; off for a single room")
@rate_option
@shared_pacing_option
@dry_run_option
@click.option("--yes", "-y", is_flag=True, hidden=True, expose_value=False, help="Not needed: the command never asks.")
@value_option(
    "--stop-after-failures", "N", whole_number(1, MAX_FAILURES), "The old name of --max-failures.", hidden=True
)
@stats_option
@api_options
def update(
    room_ids: Sequence[str],
    duplicates: int,
    change: RoomUpdate,
    concurrency: int,
    max_failures: int | None,
    no_breaker: bool,
    outage_patience: float | None,
    client: RoomsClient,
    as_json: bool,
) -> int:
    """Make the same change to one room or many.

    A field whose option is omitted stays unchanged. The word null clears the failover URL or the webhook timeout. If
    ROOM_ID is -, ids are read from standard input, one on each line. All ids and values are checked first. If any is
    invalid, all problems are reported together, and nothing is sent.

    \b
    Examples:
      aiorooms update 7b61621f-62e0-4aad-ab11-9fd19e272e73 --max-participants 20
      aiorooms update ROOM_ID ROOM_ID --webhook-event-failover-url null \\
          --webhook-event-url https://hooks.example.com/rooms
      aiorooms list | cut -f1 | aiorooms update - --enable-recording

    Each updated room is one line on standard output: its id, the word updated, and its name, separated by tabs. On a
    terminal, more than 10 rooms get a progress bar instead of these lines. Errors are lines on standard error. If
    several rooms have the same error, it is printed once, and counted at the end.

    With --json, each room is one JSON object on its own line, with the keys room_id, status, attempts, elapsed
    (seconds, including waits), request_id, error and room. The status is one of updated, failed, uncertain (the room
    may have been updated) and skipped (not updated, because the run was stopped or the server could not be reached).

    After the first Ctrl-C, no new update starts, and updates in flight have 5 seconds to finish. After that time, or at
    a second Ctrl-C, updates still in flight are aborted. In any case, the totals are printed. You can then run the
    same command again, because updating a room twice is safe.
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    out = Output(json=as_json)
    if duplicates:
        out.error(f"duplicate room ids: {duplicates:,}; each room is updated only once")
    # Without patience, the update fails when it has no retries left. For a single room, that is better than waiting for
    # 60 s.
    patience = patience_of(outage_patience, default=OUTAGE_PATIENCE if len(room_ids) > 1 else None)
    breaker = Breaker(enabled=not no_breaker)
    return _Updating(client, out, room_ids, change, concurrency, max_failures, patience, breaker).run()


class _Updating(ManyUpdates):
    """Sends the updates, and knows which rooms have no outcome yet."""

    def __init__(
        self,
        client: RoomsClient,
        out: Output,
        room_ids: Sequence[str],
        change: RoomUpdate,
        concurrency: int,
        max_failures: int | None,
        outage_patience: float | None,
        breaker: Breaker,
    ) -> None:
        super().__init__(client, out, len(room_ids))
        self._left = iter(room_ids)
        """An iterator over the rooms whose update has not started."""
        self._in_flight: dict[str, None] = {}
        """Rooms whose update has started and has no outcome yet, in the order in which the updates started."""
        self._change = change
        self._concurrency = concurrency
        self._max_failures = max_failures
        self._outage_patience = outage_patience
        self._breaker = breaker
        self._stopping = False
        self._results: UpdateRun | None = None

    def stop(self, why: str) -> None:
        self._stopping = True
        if self._results is not None:
            self._results.stop()

    async def send(self) -> None:
        self._results = results = self.client.rooms.update_many(
            self._next_updates(),
            concurrency=self._concurrency,
            max_failures=self._max_failures,
            outage_patience=self._outage_patience,
        )
        async with self.client, aclosing(results):
            async for result in results:
                del self._in_flight[result.room_id]
                self.count(result.status)
                self._report(result)

    @property
    def _is_draining(self) -> bool:
        """Whether the run was stopped by a signal, by the breaker or by --max-failures."""
        failures = self.counts.total() - self.counts["updated"]
        is_maximum = self._max_failures is not None and failures >= self._max_failures
        return self._stopping or is_maximum

    def _next_updates(self) -> Iterator[tuple[str, RoomUpdate]]:
        while not self._stopping and (room_id := next(self._left, None)) is not None:
            self._in_flight[room_id] = None
            yield room_id, self._change

    def _report(self, result: UpdateResult) -> None:
        if not self._is_draining and (reason := self._breaker.add(result.status)) is not None:
            self.stop(reason)
        if self.out.json:
            self.write(dumps(result_data(result)))
        elif result.room is not None and (self.total <= MAX_ROOM_LINES or not self.out.on_terminal):
            self.write(f"{result.room_id}\tupdated\t{field_text(result.room.unique_name)}")
        error = result.error
        # If the run was stopped, the rest of the rooms have the error of the update that stopped it.
        if error is not None and result.attempts == error.attempts and error.reason != "stopped":
            self.report(result.room_id, result.status, error_line(error), error)

    def summarize(self) -> bool:
        out, counts = self.out, self.counts
        for room_id in self._in_flight:
            counts["uncertain"] += 1
            out.error(f"room {room_id}: the update was interrupted, so its outcome is uncertain")
            if out.json:
                self.write(
                    _unfinished(room_id, "uncertain", "the update was interrupted; read the room, or update it again")
                )
        for room_id in self._left:
            counts["skipped"] += 1
            if out.json:
                self.write(_unfinished(room_id, "skipped", "not sent, because the run was stopped"))
        succeeded = counts["updated"] == self.total
        out.quiet &= succeeded
        for line in self.errors.summary():
            out.error(line)
        if self.total > 1 or self.interrupted:
            seconds = self.seconds
            rate = f" ({counts['updated'] / seconds:,.0f}/s)" if counts["updated"] > 1 else ""
            out.note(f"{self.totals(counts)} in {seconds:.1f} s{rate}")
        if self.interrupted and counts["updated"] < self.total:
            out.note("Run the same command again to update the rest. Updating a room twice is safe.")
        if self.output_error is not None:
            out.error(f"stopped: {self.output_error}")
        elif self._breaker.reason is not None and not self.interrupted:
            out.error(f"stopped: {self._breaker.advice}")
        return succeeded


def _unfinished(room_id: str, status: UpdateStatus, why: str) -> str:
    """Return a line of JSON for an update without a result. What is unknown, such as its attempts, is null."""
    error: dict[str, JsonValue] = {"type": "Interrupted", "message": why}
    unknown: dict[str, JsonValue] = dict.fromkeys(("attempts", "elapsed", "request_id"))
    return dumps({"room_id": room_id, "status": status, **unknown, "error": error, "room": None})
