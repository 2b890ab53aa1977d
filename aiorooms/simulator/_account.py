"""The rooms of one account, and the rules for changing them. Pure: no sockets, and the clock is handed in.

The rules were written from the API's documentation, on purpose not from the client's own checks. Where the
documentation is silent, this was chosen:

- Keys that the API does not know are ignored, as JSON APIs commonly do. So are `id`, `sessions` and the like.
- Integers are JSON integers (`10.0` and `true` are not), booleans are JSON booleans.
- A name is unique to the letter, and has to have something other than blanks in it. A taken one is a 422 with code
  10012 at `/unique_name`. A room that is created without a name gets its id as its name.
- A webhook URL starts with `http://` or `https://`, has a host, no blanks or control characters, and at most 2000
  characters; otherwise 10003. An empty string is no URL.
- `null` is taken for the failover URL and the timeout, and is then stored as null. A room that never had a failover
  URL shows the documented default, the empty string.
- An update that sets nothing (`{}`) is an update: it is applied, and `updated_at` moves.
- Rooms are listed oldest first.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import attrs

from ._answers import (
    BAD_REQUEST,
    DUPLICATE,
    INVALID_URL,
    NOT_FOUND,
    JsonObject,
    JsonValue,
    Refusal,
    bare_error,
    error_item,
    error_list,
)

WRITABLE = (
    "unique_name",
    "max_participants",
    "enable_recording",
    "webhook_event_url",
    "webhook_event_failover_url",
    "webhook_timeout_secs",
)
OLD_WEBHOOK_URL = "https://old.example.com/rooms"

_MAX_URL_LENGTH = 2000
_URL = re.compile(
    r"https?://"
    r"(?:[^\x00-\x20\x7f\s/?#@]*@)?"  # user and password
    r"(?:\[[0-9a-f:.]+\]|\w[^\x00-\x20\x7f\s/?#@:\[\]\\]*)"  # host
    r"(?::(\d{1,5}))?"  # port
    r"(?:[/?#][^\x00-\x20\x7f\s]*)?",
    re.IGNORECASE,
)
_MAX_PORT = 65535
_EPOCH = datetime(1970, 1, 1)  # naive UTC: the Z of a stamp is written by hand
_FIRST_ROOM = 1_704_067_200_000_000  # 2024-01-01T00:00:00Z in microseconds; the first rooms are a minute apart
_MINUTE = 60_000_000


def stamp(microseconds: int) -> str:
    """Write microseconds since the epoch as the API does: `2021-04-16T09:46:20.954863Z`."""
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="microseconds") + "Z"


@attrs.define
class Participant:
    """Somebody who is or was in a session."""

    id: str
    session_id: str
    context: str
    joined_at: str
    updated_at: str
    left_at: str | None = None

    def to_json(self) -> JsonObject:
        shown: JsonObject = {
            "id": self.id,
            "session_id": self.session_id,
            "context": self.context,
            "joined_at": self.joined_at,
            "updated_at": self.updated_at,
        }
        if self.left_at is not None:  # as in the published samples: left out while the participant is there
            shown["left_at"] = self.left_at
        shown["record_type"] = "room_participant"
        return shown


@attrs.define
class Session:
    """One meeting in a room."""

    id: str
    room_id: str
    active: bool
    created_at: str
    updated_at: str
    ended_at: str | None
    participants: list[Participant]

    def to_json(self) -> JsonObject:
        shown: JsonObject = {
            "id": self.id,
            "room_id": self.room_id,
            "active": self.active,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }
        if self.ended_at is not None:
            shown["ended_at"] = self.ended_at
        shown["participants"] = [participant.to_json() for participant in self.participants]
        shown["record_type"] = "room_session"
        return shown


@attrs.define
class Room:
    """One room as the API keeps it."""

    id: str
    unique_name: str
    created_at: str
    updated_at: str
    max_participants: int = 10
    enable_recording: bool = False
    webhook_event_url: str | None = ""
    webhook_event_failover_url: str | None = ""
    webhook_timeout_secs: int | None = None
    active_session_id: str | None = None
    sessions: tuple[Session, ...] = ()

    def to_json(self, *, with_sessions: bool = True) -> JsonObject:
        shown: JsonObject = {
            "id": self.id,
            "max_participants": self.max_participants,
            "unique_name": self.unique_name,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "active_session_id": self.active_session_id,
            "enable_recording": self.enable_recording,
            "webhook_event_failover_url": self.webhook_event_failover_url,
            "webhook_timeout_secs": self.webhook_timeout_secs,
            "webhook_event_url": self.webhook_event_url,
        }
        if with_sessions:
            shown["sessions"] = [session.to_json() for session in self.sessions]
        shown["record_type"] = "room"
        return shown


def check_url(value: str) -> str | None:
    """Return what is wrong with a webhook URL, or None."""
    if len(value) > _MAX_URL_LENGTH:
        return f"can't be longer than {_MAX_URL_LENGTH} characters"
    match = _URL.fullmatch(value)
    if match is None:
        return "is not a valid URL; it must include a scheme, such as 'https', and a host"
    if match[1] is not None and int(match[1]) > _MAX_PORT:
        return "has a port that is out of range"
    return None


def _check_field(name: str, value: JsonValue) -> tuple[str, str] | None:
    """Return the code and the text of what is wrong with one field, or None."""
    if value is None:
        if name in ("webhook_event_failover_url", "webhook_timeout_secs"):
            return None
        return BAD_REQUEST, "can't be null"
    if name in ("max_participants", "webhook_timeout_secs"):
        low, high = (2, 50) if name == "max_participants" else (0, 30)
        if isinstance(value, bool) or not isinstance(value, int):
            return BAD_REQUEST, "must be an integer"
        if not low <= value <= high:
            return BAD_REQUEST, f"must be between {low} and {high}"
        return None
    if name == "enable_recording":
        return None if isinstance(value, bool) else (BAD_REQUEST, "must be a boolean")
    if not isinstance(value, str):
        return (BAD_REQUEST if name == "unique_name" else INVALID_URL), "must be a string"
    if name == "unique_name":
        return None if value.strip() else (BAD_REQUEST, "can't be blank")
    wrong = check_url(value)
    return None if wrong is None else (INVALID_URL, wrong)


class Account:
    """All rooms of one account, in the order in which they were created."""

    def __init__(self, *, seed: int, clock: Callable[[], int]) -> None:
        """Start without rooms; `clock` gives microseconds since the epoch."""
        self.rooms: dict[str, Room] = {}
        self._ids_by_name: dict[str, str] = {}
        self._random = random.Random(seed)  # noqa: S311 - ids that repeat under a seed, not secrets
        self._clock = clock
        self._last_stamp = 0
        self._in_order: list[Room] | None = None

    def fill(self, count: int) -> None:
        """Add rooms named `room-000001` and so on, a minute apart, the same ones under the same seed."""
        for number in range(1, count + 1):
            created = stamp(_FIRST_ROOM + number * _MINUTE + self._random.randrange(1_000_000))
            self.insert(
                Room(
                    id=self.new_id(),
                    unique_name=f"room-{number:06d}",
                    created_at=created,
                    updated_at=created,
                    webhook_event_url=OLD_WEBHOOK_URL,
                )
            )

    def new_id(self) -> str:
        """Make the next uuid4-shaped id."""
        text = f"{self._random.getrandbits(128):032x}"
        variant = "89ab"[int(text[16], 16) & 3]
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"

    def now(self) -> str:
        """Read the clock; every reading is later than the one before."""
        self._last_stamp = max(self._clock(), self._last_stamp + 1)
        return stamp(self._last_stamp)

    def insert(self, room: Room) -> None:
        """Add a room as it is; a ValueError if its id or name is taken."""
        if room.id in self.rooms:
            raise ValueError(f"there is a room {room.id} already")
        if room.unique_name in self._ids_by_name:
            raise ValueError(f"there is a room named {room.unique_name!r} already")
        self.rooms[room.id] = room
        self._ids_by_name[room.unique_name] = room.id
        self._in_order = None

    def change(self, room: Room, changes: Mapping[str, JsonValue]) -> None:
        """Set fields that were checked before; `updated_at` moves."""
        for name, value in changes.items():
            if name == "unique_name":
                del self._ids_by_name[room.unique_name]
                self._ids_by_name[str(value)] = room.id
            setattr(room, name, value)
        room.updated_at = self.now()

    def remove(self, room_id: str) -> None:
        """Take a room away; a KeyError if there is none."""
        room = self.rooms.pop(room_id)
        del self._ids_by_name[room.unique_name]
        self._in_order = None

    def find(self, room_id: str) -> Room:
        """Return the room, or refuse with a 404."""
        room = self.rooms.get(room_id)
        if room is None:
            raise Refusal(bare_error(404, NOT_FOUND, "The requested resource or URL could not be found."))
        return room

    def create(self, body: JsonObject) -> Room:
        """Create a room from a request body, or refuse with everything that is wrong with it."""
        changes = self._checked(body, None)
        room_id = self.new_id()
        now = self.now()
        room = Room(id=room_id, unique_name=room_id, created_at=now, updated_at=now)
        for name, value in changes.items():
            setattr(room, name, value)
        self.insert(room)
        return room

    def update(self, room_id: str, body: JsonObject) -> Room:
        """Update a room from a request body, or refuse with everything that is wrong with it."""
        room = self.find(room_id)
        self.change(room, self._checked(body, room))
        return room

    def delete(self, room_id: str) -> None:
        """Delete a room, or refuse with a 404."""
        self.find(room_id)
        self.remove(room_id)

    def select(self, unique_name: str | None, dates: Sequence[tuple[str, str, str]]) -> Sequence[Room]:
        """List rooms, oldest first; `dates` are (`created_at` or `updated_at`, `eq`, `gte` or `lte`, YYYY-MM-DD)."""
        if self._in_order is None:
            self._in_order = [*self.rooms.values()]
        if unique_name is not None:
            named = self._ids_by_name.get(unique_name)
            found = [] if named is None else [self.rooms[named]]
        elif dates:
            found = self._in_order
        else:
            return self._in_order
        return [room for room in found if all(_on_date(room, *date) for date in dates)]

    def add_session(self, room: Room, *, active: bool, participants: Sequence[str]) -> Session:
        """Put a session in a room; an active one ends the one that was active before."""
        if active:
            self.end_session(room)
        session_id = self.new_id()
        now = self.now()
        ended = None if active else now
        people = [Participant(self.new_id(), session_id, context, now, now, ended) for context in participants]
        session = Session(session_id, room.id, active, now, now, ended, people)
        room.sessions = (*room.sessions, session)
        if active:
            room.active_session_id = session_id
        return session

    def end_session(self, room: Room) -> None:
        """End the active session of a room, if there is one."""
        room.active_session_id = None
        for session in room.sessions:
            if session.active:
                session.active = False
                session.ended_at = session.updated_at = self.now()
                for participant in session.participants:
                    participant.left_at = participant.updated_at = session.ended_at

    def _checked(self, body: JsonObject, room: Room | None) -> dict[str, JsonValue]:
        """Return the fields to set, or refuse with all problems at once."""
        changes: dict[str, JsonValue] = {}
        problems: list[JsonObject] = []
        for name in WRITABLE:
            if name not in body:
                continue
            value = changes[name] = body[name]
            problem = _check_field(name, value)
            if problem is None and name == "unique_name":
                owner = self._ids_by_name.get(str(value))
                if owner is not None and (room is None or owner != room.id):
                    problem = DUPLICATE, "has already been taken"
            if problem is not None:
                code, text = problem
                problems.append(error_item(code, f"{name} {text}", pointer=f"/{name}"))
        if problems:
            raise Refusal(error_list(422, *problems))
        return changes


def _on_date(room: Room, field: str, relation: str, date: str) -> bool:
    day = (room.created_at if field == "created_at" else room.updated_at)[:10]
    return day == date if relation == "eq" else day >= date if relation == "gte" else day <= date


class RoomsView(Mapping[str, dict[str, JsonValue]]):
    """The rooms by id, as JSON; each look-up shows the state of that moment, in a dict of its own."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def __getitem__(self, room_id: str) -> dict[str, JsonValue]:
        return self._account.rooms[room_id].to_json()

    def __iter__(self) -> Iterator[str]:
        return iter([*self._account.rooms])

    def __len__(self) -> int:
        return len(self._account.rooms)

    def __contains__(self, room_id: object) -> bool:
        return room_id in self._account.rooms

    def __repr__(self) -> str:
        return f"<{len(self)} rooms>"
