"""Make a room of a simulator from a JSON object, such as a room in an answer of the API.

The values are kept as they are, even if today's API would reject them: only what a request sets is checked. For
example, an account has a room with 99 participants. The simulator lists it so, and rejects a PATCH that sets 99.
"""

from collections.abc import Mapping
from typing import Any, Final

from ._account import OLD_WEBHOOK_URL, WRITABLE, Account, Room
from ._answers import JsonValue

_KEPT: Final = ("id", *WRITABLE, "created_at", "updated_at")

_IGNORED: Final = ("active_session_id", "sessions", "record_type")
"""Fields that follow from the simulator's own sessions, or are the same in all rooms."""


def room_from_json(account: Account, fields: Mapping[str, JsonValue], number: int) -> Room:
    """Return a room with these fields, and defaults for the others. `number` names the room in an error, from 1.

    Raise ValueError for an unknown field, so that a misspelt one is not ignored, and for an id or a time that is not
    text.
    """
    unknown = fields.keys() - {*_KEPT, *_IGNORED}
    if unknown:
        raise ValueError(f"room {number}: not fields of a room: {', '.join(sorted(unknown))}")
    for name in ("id", "created_at", "updated_at"):
        if name in fields and not isinstance(fields[name], str):
            raise ValueError(f"room {number}: {name} must be text, not {fields[name]!r}")
    values: dict[str, Any] = {name: fields[name] for name in _KEPT if name in fields}
    room_id = values["id"] = values.get("id", "").lower() or account.new_id()
    created_at = values["created_at"] if "created_at" in values else account.now()
    values = {
        "unique_name": room_id,
        "webhook_event_url": OLD_WEBHOOK_URL,
        "created_at": created_at,
        "updated_at": created_at,
        **values,
    }
    return Room(**values)
