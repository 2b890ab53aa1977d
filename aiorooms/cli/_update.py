"""`aiorooms update`: the same change to one room or many, with one outcome for each, also after a Ctrl-C."""

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, overload

import click

from .._unset import UNSET, Unset
from ..client import RoomsClient
from ..errors import AuthenticationError, InvalidRequestError, PermissionDeniedError
from ..models import (
    FIELD_NAMES,
    MAX_PARTICIPANTS,
    WEBHOOK_TIMEOUT_SECS,
    RoomUpdate,
    UpdateResult,
    UpdateStatus,
)
from ._json import JsonValue, dumps, result_data
from ._options import Reader, api_options
from ._output import FEW, Output, OutputLostError, complain, flush, shown
from ._run import GRACE, run
from ._status import FAILED, INTERRUPTED, OK, UNAUTHORIZED

if TYPE_CHECKING:
    from ._progress import Bar

__all__ = ["update"]

_MOST_CONCURRENT: Final = 1000

_OUTAGE_PATIENCE: Final = 60.0
"""Seconds."""

_NOT_UPDATED: Final[dict[UpdateStatus, str]] = {
    "failed": "failed",
    "uncertain": "uncertain",
    "skipped": "not sent",
}


@click.command()
@click.argument("given", metavar="ROOM_ID...", nargs=-1)
@click.option("--unique-name", metavar="NAME", help="The room's name, unique within the account.")
@click.option("--max-participants", metavar="N", help="2 to 50.")
@click.option("--enable-recording/--no-enable-recording", default=None, help="Whether sessions are recorded.")
@click.option("--webhook-event-url", metavar="URL", help="Where events about the room are sent.")
@click.option(
    "--webhook-event-failover-url",
    metavar="URL|null",
    help="Where events are sent if sending to the webhook URL fails; null clears it.",
)
@click.option(
    "--webhook-timeout-secs", metavar="N|null", help="Seconds before a webhook times out, 0 to 30; null clears it."
)
@click.option(
    "--concurrency",
    metavar="N",
    default="50",
    show_default=True,
    help="Updates to have under way at a time, 1 to 1000.",
)
@click.option(
    "--stop-after-failures",
    metavar="N",
    help="Begin no new update after so many failures. In any case 401, 403, a rate limit's pause of over 300 s and an "
    "outage of over 60 s stop the run.",
)
@api_options
def update(
    given: tuple[str, ...],
    unique_name: str | None,
    max_participants: str | None,
    enable_recording: bool | None,
    webhook_event_url: str | None,
    webhook_event_failover_url: str | None,
    webhook_timeout_secs: str | None,
    concurrency: str,
    stop_after_failures: str | None,
    base_url: str | None,
    timeout: str | None,
    as_json: bool,
) -> int:
    """Change one room or many, all in the same way.

    A field whose option is left out stays as it is. The word null clears the failover URL or the webhook timeout.
    With - for ROOM_ID the ids are read from standard input, one on each line. Everything is checked first: if
    anything is wrong, you are told all of it, and nothing is sent.

    \b
    Examples:
      aiorooms update 7b61621f-62e0-4aad-ab11-9fd19e272e73 --max-participants 20
      aiorooms update ROOM_ID ROOM_ID --webhook-event-failover-url null \\
          --webhook-event-url https://hooks.example.com/rooms
      aiorooms list | cut -f1 | aiorooms update - --enable-recording

    Each updated room is a line on standard output: its id, the word updated, and its name, separated by tabs. On a
    terminal, more than 10 rooms are a progress bar and a summary instead. Each failure is a line on standard error.

    With --json each room is an object on a line of its own: room_id, status, attempts, elapsed (seconds, waits
    included), error, room. The status is updated, failed, uncertain (it may have been updated, and that could not be
    found out) or skipped (not sent).

    Ctrl-C once: no new updates are begun, those under way have 5 seconds to end, and the outcome is summed up. Ctrl-C
    twice: stop now, and sum up. Running the same command again is always safe.
    """  # noqa: D301 - click takes a backspace for "leave these lines as they are"
    reader = Reader()
    change = _read_change(
        reader,
        unique_name,
        max_participants,
        enable_recording,
        webhook_event_url,
        webhook_event_failover_url,
        webhook_timeout_secs,
    )
    at_a_time = reader.whole_number("--concurrency", concurrency, range(1, _MOST_CONCURRENT + 1)) or 1
    most_failures = reader.whole_number("--stop-after-failures", stop_after_failures, range(1, 1_000_001))
    room_ids, repeated = _read_room_ids(reader, given)
    if unique_name is not None and len(room_ids) > 1:
        reader.wrong(f"a name belongs to one room only, and {len(room_ids):,} rooms were given", "--unique-name")
    client = reader.client(base_url, timeout, max_connections=at_a_time)
    reader.refuse()
    assert client is not None
    assert change is not None
    out = Output(json=as_json)
    if repeated:
        out.complain(f"ids given more than once: {repeated:,}; each room is updated once")
    updates = _Updates(room_ids, change, out)
    began = time.monotonic()
    with out.progress(len(room_ids)) as bar:
        interrupted = run(lambda: updates.send(client, at_a_time, most_failures, bar), on_stop=updates.on_stop)
    return updates.sum_up(time.monotonic() - began, interrupted=interrupted)


# --- what is to be done ---


def _read_change(
    reader: Reader,
    unique_name: str | None,
    max_participants: str | None,
    enable_recording: bool | None,
    webhook_event_url: str | None,
    webhook_event_failover_url: str | None,
    webhook_timeout_secs: str | None,
) -> RoomUpdate | None:
    """Make the update, or keep everything that is wrong with it."""
    given = (
        unique_name,
        max_participants,
        enable_recording,
        webhook_event_url,
        webhook_event_failover_url,
        webhook_timeout_secs,
    )
    if given.count(None) == len(given):
        options = ", ".join(_option(name) for name in FIELD_NAMES)
        reader.wrong(f"there is nothing to change; give at least one of {options}")
        return None
    try:
        return RoomUpdate(
            unique_name=_not_null(reader, "--unique-name", unique_name),
            max_participants=_number(
                reader,
                "--max-participants",
                _not_null(reader, "--max-participants", max_participants),
                MAX_PARTICIPANTS,
            ),
            enable_recording=UNSET if enable_recording is None else enable_recording,
            webhook_event_url=_not_null(reader, "--webhook-event-url", webhook_event_url),
            webhook_event_failover_url=_nullable(webhook_event_failover_url),
            webhook_timeout_secs=_number(
                reader, "--webhook-timeout-secs", _nullable(webhook_timeout_secs), WEBHOOK_TIMEOUT_SECS
            ),
        )
    except InvalidRequestError as error:
        for problem in error.problems:
            # The message may speak of Python's None, for which null stands here.
            reader.wrong(problem.message.replace("or None", "or null"), _option(problem.pointer[1:]))
        return None


def _option(field: str) -> str:
    return "--" + field.replace("_", "-")


def _nullable(text: str | None) -> str | Unset | None:
    if text is None:
        return UNSET
    return None if text == "null" else text


def _not_null(reader: Reader, name: str, text: str | None) -> str | Unset:
    value = _nullable(text)
    if value is None:
        reader.wrong("null can't clear this field; give a value, or leave the option out to keep what is there", name)
        return UNSET
    return value


@overload
def _number(reader: Reader, name: str, text: str | Unset, allowed: range) -> int | Unset: ...
@overload
def _number(reader: Reader, name: str, text: str | Unset | None, allowed: range) -> int | Unset | None: ...
def _number(reader: Reader, name: str, text: str | Unset | None, allowed: range) -> int | Unset | None:
    if text is UNSET or text is None:
        return text
    value = reader.whole_number(name, text, allowed)
    return UNSET if value is None else value


def _read_room_ids(reader: Reader, given: Sequence[str]) -> tuple[list[str], int]:
    """Give the ids, each once, and how many were left out for that."""
    if not given:
        reader.wrong(
            "ROOM_ID is missing: give room ids, or - to read them from standard input; see `aiorooms update --help`"
        )
    read = [reader.room_id(text, "ROOM_ID") for text in given if text != "-"]
    if "-" in given:
        read += _read_standard_input(reader)
    # The server doesn't tell ids in upper case from those in lower case.
    ids = [room_id for room_id in read if room_id is not None]
    rooms: dict[str, str] = {}
    for room_id in ids:
        rooms.setdefault(room_id.lower(), room_id)
    return list(rooms.values()), len(ids) - len(rooms)


def _read_standard_input(reader: Reader) -> list[str | None]:
    read: list[str | None] = []
    try:
        if sys.stdin.isatty():
            complain("reading room ids, one on each line; Ctrl-D ends")
        for number, line in enumerate(sys.stdin.buffer, 1):
            # Windows begins files with a byte order mark.
            text = line.decode("utf-8-sig" if number == 1 else "utf-8", "replace").strip()
            if text:
                read.append(reader.room_id(text, f"standard input, line {number:,}"))
    except OSError as error:
        reader.wrong(f"can't be read: {error.strerror}", "standard input")
        return read
    if not read:
        reader.wrong("there are no room ids", "standard input")
    return read


# --- doing it ---


class _Updates:
    """Sends the updates, writes each outcome, and knows at any moment what became of every room."""

    def __init__(self, room_ids: Sequence[str], change: RoomUpdate, out: Output) -> None:
        self._total = len(room_ids)
        self._left = iter(room_ids)
        """The rooms whose update was not begun."""
        self._under_way: dict[str, None] = {}
        """The rooms whose update was begun, in that order, and has no outcome yet."""
        self._change = change
        self._out = out
        self._counts: Counter[UpdateStatus] = Counter()
        self._stopping = False
        self._unauthorized = False
        self._lost: OutputLostError | None = None

    def on_stop(self) -> None:
        """Begin no new update."""
        self._stopping = True
        under_way = len(self._under_way)
        self._out.complain(f"stopping: {under_way:,} under way have {GRACE:g} s to end; Ctrl-C again stops now")

    async def send(self, client: RoomsClient, concurrency: int, most_failures: int | None, bar: "Bar | None") -> None:
        """Send all of them; to be cancelled at any time."""
        if bar is not None:
            bar.pacing = client.pacing.snapshot
        results = client.rooms.update_many(
            self._begin(),
            concurrency=concurrency,
            max_failures=most_failures,
            # Who updates one room wants to hear soon that the server is out.
            outage_patience=_OUTAGE_PATIENCE if self._total > 1 else None,
        )
        async with client, aclosing(results):
            async for result in results:
                del self._under_way[result.room_id]
                self._counts[result.status] += 1
                self._tell(result)
                if bar is not None:
                    bar.done += 1
                    bar.failed += result.status in ("failed", "uncertain")

    def _begin(self) -> Iterator[tuple[str, RoomUpdate]]:
        while not self._stopping and (room_id := next(self._left, None)) is not None:
            self._under_way[room_id] = None
            yield room_id, self._change

    def _tell(self, result: UpdateResult) -> None:
        if result.room is not None and not self._out.json and (self._total <= FEW or not self._out.on_terminal):
            self._write(f"{result.room_id}\tupdated\t{shown(result.room.unique_name)}")
        if self._out.json:
            self._write(dumps(result_data(result)))
        if result.error is None or result.status == "skipped":
            return
        if isinstance(result.error, (AuthenticationError, PermissionDeniedError)):
            # All that were in flight meet it, and one line is enough.
            if self._unauthorized:
                return
            self._unauthorized = True
        self._out.complain(str(result.error))

    def _write(self, line: str) -> None:
        if self._lost is None:
            try:
                self._out.line(line)
                flush()
            except OutputLostError as error:
                # Going on would change rooms that nobody hears of.
                self._lost = error
                self._stopping = True

    def sum_up(self, seconds: float, *, interrupted: bool) -> int:
        """Tell what became of the rest and of all, and give the exit code."""
        for room_id in self._under_way:
            self._counts["uncertain"] += 1
            self._out.complain(f"room {room_id}: outcome unknown")
            if self._out.json:
                why = "interrupted while it was being updated: look at the room, or update it again"
                self._write(dumps(_unfinished(room_id, "uncertain", why)))
        for room_id in self._left:
            self._counts["skipped"] += 1
            if self._out.json:
                self._write(dumps(_unfinished(room_id, "skipped", "not sent: the run was stopped before")))
        counts = self._counts
        if self._total > 1 or interrupted:
            told = [f"{counts['updated']:,} updated"]
            told += [f"{counts[status]:,} {name}" for status, name in _NOT_UPDATED.items() if counts[status]]
            rate = f" ({counts['updated'] / seconds:,.0f}/s)" if counts["updated"] > 1 else ""
            self._out.note(f"{'interrupted: ' * interrupted}{', '.join(told)} in {seconds:.1f} s{rate}")
        if interrupted and counts["updated"] < self._total:
            self._out.note("The same command again is safe, and updates the rest.")
        if self._lost is not None:
            self._out.complain(f"stopped, as {self._lost}")
        if interrupted:
            return INTERRUPTED
        if self._unauthorized:
            return UNAUTHORIZED
        return OK if counts["updated"] == self._total and self._lost is None else FAILED


def _unfinished(room_id: str, status: UpdateStatus, why: str) -> dict[str, JsonValue]:
    """Give the outcome of an update that the interruption left without one. How often it was sent is not known."""
    error: dict[str, JsonValue] = {"type": "Interrupted", "message": why}
    return {"room_id": room_id, "status": status, "attempts": None, "elapsed": None, "error": error, "room": None}
