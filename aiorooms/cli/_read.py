"""`aiorooms get` and `aiorooms list`: show rooms as a table, as tab-separated lines, or as JSON."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import aclosing
from datetime import date
from typing import Final, TypeVar

import click

from .._text import counted, read_day
from .._unset import UNSET, Unset
from ..client import RoomsClient
from ..models import FIELD_NAMES, Room, RoomPage
from ..resources._pages import RoomList
from ._command import Command, Value
from ._escaping import field_text
from ._exit_codes import OK
from ._json import JsonValue, model_data
from ._options import api_options, make_client, value_option
from ._output import Output, flush
from ._run import run
from ._values import read_name, read_room_id, whole_number
from ._watch import stats_option

__all__ = ["get", "list_"]

T = TypeVar("T")

_FIELDS: Final = ("id", *FIELD_NAMES, "created_at", "updated_at", "active_session_id")
"""The fields of a room in the tab-separated output of `list`."""

_ID_WIDTH: Final = 36


@click.command(cls=Command, steps=[make_client])
@click.argument("room_id", metavar="ROOM_ID", type=Value(read_room_id))
@click.option(
    "--include-sessions",
    is_flag=True,
    help="Also read the room's sessions and their participants.  [default: no sessions]",
)
@api_options
def get(room_id: str, include_sessions: bool, client: RoomsClient, as_json: bool) -> int:
    """Show one room.

    On a terminal, the output is a table of names and values. Otherwise each field is one line: its name, a tab and its
    value. With --json, the output is one JSON object.

    \b
    Examples:
      aiorooms get 7b61621f-62e0-4aad-ab11-9fd19e272e73
      aiorooms get 7b61621f-62e0-4aad-ab11-9fd19e272e73 --include-sessions --json
    """  # noqa: D301 - a backspace tells click to keep the line breaks

    async def retrieve() -> Room:
        async with client:
            return await client.rooms.retrieve(room_id, include_sessions=include_sessions or UNSET)

    _show_room(run(retrieve()), Output(json=as_json))
    return OK


def _show_room(room: Room, out: Output) -> None:
    data = model_data(room)
    if out.json:
        out.data(data)
        return
    fields = [*_flat("", data)]
    if not out.on_terminal:
        for name, value in fields:
            out.line(f"{name}\t{field_text(value)}")
        return
    from rich.table import Table  # imported here, because only drawing needs rich

    table = Table.grid(padding=(0, 2))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields:
        table.add_row(name, field_text(value) or "-")
    out.draw(table)


def _flat(path: str, value: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    """Yield each scalar value with its path, such as `sessions[0].active`."""
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _flat(f"{path}[{number}]", item)
    elif value is None or isinstance(value, (str, int, float)):
        yield path, value
    else:
        for name, item in value.items():
            yield from _flat(f"{path}.{name}" if path else name, item)


@click.command("list", cls=Command, steps=[make_client])
@value_option("--unique-name", "NAME", read_name, "Only the room with exactly this name.  [default: any]")
@value_option("--created-on", "YYYY-MM-DD", read_day, "Only rooms created on this day.  [default: any]")
@value_option("--created-from", "YYYY-MM-DD", read_day, "Only rooms created on this day or later.  [default: any]")
@value_option("--created-to", "YYYY-MM-DD", read_day, "Only rooms created on this day or earlier.  [default: any]")
@value_option("--updated-on", "YYYY-MM-DD", read_day, "Only rooms last updated on this day.  [default: any]")
@value_option("--updated-from", "YYYY-MM-DD", read_day, "Only rooms last updated on this day or later.  [default: any]")
@value_option("--updated-to", "YYYY-MM-DD", read_day, "Only rooms last updated on this day or earlier.  [default: any]")
@value_option("--page-size", "N", whole_number(1, 250), "Number of rooms per request, 1 to 250.", default="250")
@stats_option
@api_options
def list_(
    unique_name: str | None,
    created_on: date | None,
    created_from: date | None,
    created_to: date | None,
    updated_on: date | None,
    updated_from: date | None,
    updated_to: date | None,
    page_size: int,
    client: RoomsClient,
    as_json: bool,
) -> int:
    """List all rooms, or those that match all filters.

    On a terminal, the output is a table. Otherwise each room is one line, and there is no header. A line has these
    fields, separated by tabs:

    \b
    id, unique_name, max_participants, enable_recording, webhook_event_url,
    webhook_event_failover_url, webhook_timeout_secs, created_at, updated_at,
    active_session_id

    With --json, each room is one JSON object on its own line. Rooms are written page by page, so an account of any size
    can be listed. The days in the filters are in UTC.

    \b
    Examples:
      aiorooms list --created-from 2024-01-01
      aiorooms list | cut -f1,5                  ids and webhook URLs
      aiorooms list --json > rooms.jsonl
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    rooms = client.rooms.list(
        unique_name=_or_unset(unique_name),
        date_created_at_eq=_or_unset(created_on),
        date_created_at_gte=_or_unset(created_from),
        date_created_at_lte=_or_unset(created_to),
        date_updated_at_eq=_or_unset(updated_on),
        date_updated_at_gte=_or_unset(updated_from),
        date_updated_at_lte=_or_unset(updated_to),
        page_size=page_size,
    )
    listing = _Listing(Output(json=as_json))
    with listing.out.reading(writes_results=True) as reading:
        run(listing.read(client, rooms, reading.add_rooms))
    listing.end()
    return OK


def _or_unset(value: T | None) -> T | Unset:
    return UNSET if value is None else value


class _Listing:
    """Writes rooms page by page, without keeping them in memory."""

    def __init__(self, out: Output) -> None:
        self.out = out
        self._count = 0
        if out.on_terminal:
            importlib.import_module("rich.table")  # later, the import would block the event loop
            self._columns = _columns(out.width)

    async def read(self, client: RoomsClient, rooms: RoomList, on_rooms: Callable[[int], None]) -> None:
        async with client, aclosing(rooms.pages()) as pages:
            async for page in pages:
                self._write(page)
                flush()
                on_rooms(len(page))

    def end(self) -> None:
        """Write the number of rooms, but only on a terminal: a program that reads the output expects only rooms."""
        if self.out.on_terminal:
            self.out.note(counted(self._count, "room"))

    def _write(self, page: RoomPage) -> None:
        if self.out.json:
            for room in page:
                self.out.data(model_data(room))
        elif not self.out.on_terminal:
            for room in page:
                self.out.line("\t".join(field_text(getattr(room, name)) for name in _FIELDS))
        elif page:
            self._draw(page)
        self._count += len(page)

    def _draw(self, page: RoomPage) -> None:
        from rich.table import Table

        # All pages use the same column widths, so they look like one table.
        table = Table(box=None, show_header=not self._count, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        for name, width in self._columns:
            style = "cyan" if name == "id" else ""
            table.add_column(name, width=width, no_wrap=True, overflow="ellipsis", style=style)
        for room in page:
            table.add_row(*(field_text(getattr(room, name)) for name, _ in self._columns))
        self.out.draw(table)


def _columns(width: int) -> list[tuple[str, int]]:
    """Return the fields that fit on a terminal of this width, and the width of each."""
    urls = ["webhook_event_url", "webhook_event_failover_url"][: 2 if width >= 110 else 1 if width >= 70 else 0]
    numbers = ["max_participants", "enable_recording"] if width >= 150 else []
    left = width - _ID_WIDTH - 2 - sum(len(name) + 2 for name in numbers)
    name_width = left * 2 // (3 * len(urls) + 2)
    return [
        ("id", _ID_WIDTH),
        ("unique_name", max(8, name_width)),
        *((name, len(name)) for name in numbers),
        *((name, (left - name_width) // len(urls) - 2) for name in urls),
    ]
