"""The operations on rooms that return a `Response`: `client.rooms.with_response`."""

import time
from typing import TypeVar, Unpack, overload

from .._http.attempts import Sender
from .._http.call_settings import CallOptions
from .._http.request import Request
from .._unset import UNSET, Unset
from ..models import (
    FIELD_NAMES,
    Response,
    Room,
    RoomCreate,
    RoomPage,
    RoomRef,
    RoomUpdate,
    read_room_ref,
)
from ._calls import checked_options, send_for_response, split_arguments
from ._reports import report_error, report_success
from ._room_requests import FILTER_NAMES, RoomArguments, RoomListArguments, RoomRequests, list_query

__all__ = ["RoomsWithResponse", "send_update"]

T = TypeVar("T")


class RoomsWithResponse:
    """The operations on rooms that return a `Response`: the value with status, headers, body and request id.

    Arguments, errors and retries are those of `Rooms`. There is no `list`: use `list_page`. The results of
    `update_many` have a `request_id`.
    """

    def __init__(self, sender: Sender, requests: RoomRequests) -> None:
        self._sender = sender
        self._requests = requests

    async def retrieve(
        self, room_id: RoomRef, *, include_sessions: bool | Unset = UNSET, **options: Unpack[CallOptions]
    ) -> Response[Room]:
        """Return one room: see `Rooms.retrieve`."""
        checked = checked_options("rooms.retrieve", options)
        return await self._send(self._requests.retrieve(room_id, include_sessions), checked)

    async def list_page(
        self, number: int = 1, *, page_size: int = 250, **filters: Unpack[RoomListArguments]
    ) -> Response[RoomPage]:
        """Return one page of the list: see `Rooms.list_page`."""
        given, options = split_arguments("rooms.list_page", filters, FILTER_NAMES)
        request = self._requests.page(list_query(given, page_size), number)
        return await self._send(request, options)

    async def create(self, room: RoomCreate | None = None, /, **fields: Unpack[RoomArguments]) -> Response[Room]:
        """Create a room: see `Rooms.create`."""
        given, options = split_arguments("rooms.create", fields, FIELD_NAMES)
        return await self._send(self._requests.create(room, given), options)

    @overload
    async def update(self, room_id: RoomRef, update: RoomUpdate, **options: Unpack[CallOptions]) -> Response[Room]: ...
    @overload
    async def update(self, room_id: RoomRef, **fields: Unpack[RoomArguments]) -> Response[Room]: ...
    async def update(
        self, room_id: RoomRef, update: RoomUpdate | None = None, **fields: Unpack[RoomArguments]
    ) -> Response[Room]:
        """Update a room: see `Rooms.update`. If a read-back confirmed it, the answer is that of the read-back."""
        return await send_update(self._sender, self._requests, room_id, update, fields)

    async def delete(self, room_id: RoomRef, **options: Unpack[CallOptions]) -> Response[None]:
        """Delete a room: see `Rooms.delete`."""
        checked = checked_options("rooms.delete", options)
        return await self._send(self._requests.delete(room_id), checked)

    async def _send(self, request: Request[T], options: CallOptions) -> Response[T]:
        return await send_for_response(self._sender, request, self._sender.settings.with_options(options))


async def send_update(
    sender: Sender, requests: RoomRequests, room: RoomRef, update: RoomUpdate | None, arguments: RoomArguments
) -> Response[Room]:
    """Update a room, and report the outcome."""
    fields, options = split_arguments("rooms.update", arguments, FIELD_NAMES)
    request = requests.update(room, update, fields)
    settings = sender.settings.with_options(options)
    room_id, _ = read_room_ref(room)
    began = time.monotonic()
    try:
        response = await send_for_response(sender, request, settings)
    except BaseException as error:
        report_error(sender.telemetry, room_id, error, time.monotonic() - began)
        raise
    report_success(sender.telemetry, room_id, response.attempts, response.elapsed)
    return response
