"""Read a room with a GET if the list does not show its state: the room is missing, or a value can't be read.

For example, a plan has the rooms A to D, and the account is listed.

- A is in the list with the `max_participants` "10", a text. What this room has is unknown, so A is read with a GET. A
  plan must not contain null as the old value, because `apply` would take the real value for a change by someone else.
- B is not in the list, because another room was deleted between two pages. B is read with a GET. It exists.
- C is not in the list, and the GET of C returns 404. C was deleted.
- D is in the list, and can be read. There is no GET of D.

If the server returns the same wrong value in all answers, a GET of each room would find nothing. So after 100 GETs
that returned unreadable values again, listed rooms are not read with a GET.
"""

from typing import Final

from ..client import RoomsClient
from ..errors import NotFoundError
from ..models import FIELD_NAMES, Room, read_room_ref
from ..models._fields import unreadable_fields

__all__ = ["Rechecker", "find_room"]

_MAX_STILL_UNREADABLE: Final = 100


async def find_room(client: RoomsClient, room_id: str) -> Room | None:
    """Return a room that a list lacks; None if the room does not exist. Raises `APIError` if that is unknown."""
    if read_room_ref(room_id)[1]:
        return None  # no room has such an id, and the client rejects it
    try:
        return await client.rooms.retrieve(room_id)
    except NotFoundError:
        return None


class Rechecker:
    """Reads the rooms of a list again if one of their values can't be read."""

    def __init__(self, client: RoomsClient) -> None:
        self._client = client
        self._still_unreadable = 0
        """Number of rooms that were read again, and whose values still could not be read."""

    def is_needed(self, room: Room) -> bool:
        """Return whether the list does not show all values of a room, and a GET may show them."""
        return self._still_unreadable < _MAX_STILL_UNREADABLE and _is_unreadable(room)

    async def __call__(self, room: Room) -> Room | None:
        """Return a listed room, or the same room from a GET; None if it was deleted meanwhile.

        Raises `APIError` if the room can't be read.
        """
        if not self.is_needed(room):
            return room
        again = await find_room(self._client, room.id)
        self._still_unreadable += again is not None and _is_unreadable(again)
        return again


def _is_unreadable(room: Room) -> bool:
    return "updated_at" in room.unreadable or bool(unreadable_fields(room, FIELD_NAMES))
