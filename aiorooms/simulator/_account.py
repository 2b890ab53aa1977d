"""The rooms of one account, as the API stores them. This module does no I/O, and gets its clock as an argument.

The operations in `_operations/` validate requests. This module stores values without checking them. The failover URL of
a new room is the empty string, which is the documented default.
"""

import operator
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import attrs

from ._answers import JsonObject, JsonValue

WRITABLE = (
    "unique_name",
    "max_participants",
    "enable_recording",
    "webhook_event_url",
    "webhook_event_failover_url",
    "webhook_timeout_secs",
)
OLD_WEBHOOK_URL = "https://old.example.com/rooms"

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_EPOCH = datetime(1970, 1, 1)  # naive UTC: `timestamp` appends the Z
_FILL_START = 1_704_067_200_000_000  # 2024-01-01 UTC in microseconds; `fill` dates room N about N minutes later
_MINUTE = 60_000_000
_RELATIONS: Mapping[str, Callable[[str, str], bool]] = {"eq": operator.eq, "gte": operator.ge, "lte": operator.le}


def is_uuid(text: str) -> bool:
    """Return whether a text is a lower-case UUID."""
    return _UUID.fullmatch(text) is not None


def timestamp(microseconds: int) -> str:
    """Return microseconds since the epoch in the API's format: `2021-04-16T09:46:20.954863Z`."""
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="microseconds") + "Z"


@attrs.define
class Participant:
    """A participant who is in a session, or has left it."""

    id: str
    session_id: str
    context: str
    joined_at: str
    updated_at: str
    left_at: str | None = None

    def to_json(self) -> JsonObject:
        fields: JsonObject = {
            "id": self.id,
            "session_id": self.session_id,
            "context": self.context,
            "joined_at": self.joined_at,
            "updated_at": self.updated_at,
        }
        if self.left_at is not None:  # absent until the participant leaves, as in the published samples
            fields["left_at"] = self.left_at
        fields["record_type"] = "room_participant"
        return fields


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
        fields: JsonObject = {
            "id": self.id,
            "room_id": self.room_id,
            "active": self.active,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }
        if self.ended_at is not None:
            fields["ended_at"] = self.ended_at
        fields["participants"] = [participant.to_json() for participant in self.participants]
        fields["record_type"] = "room_session"
        return fields


@attrs.define
class Room:
    """One room as the API stores it."""

    id: str
    unique_name: str | None
    """The name. It may be None or blank, because real accounts have such rooms, although no request can set that."""
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
        fields: JsonObject = {
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
            fields["sessions"] = [session.to_json() for session in self.sessions]
        fields["record_type"] = "room"
        return fields


class Account:
    """All rooms of one account, in the order in which they were added."""

    def __init__(self, *, seed: int, clock: Callable[[], int]) -> None:
        """Start without rooms; `clock` returns microseconds since the epoch."""
        self.rejects_null = False
        """Whether null is rejected even where the documentation allows it."""
        self.rooms: dict[str, Room] = {}
        self.sessions: dict[str, Session] = {}
        self.participants: dict[str, Participant] = {}
        self._ids_by_name: dict[str, str] = {}
        self._random = random.Random(seed)  # noqa: S311 - for reproducible ids, not for secrets
        self._clock = clock
        self._last_microseconds = 0
        self._in_order: list[Room] | None = None

    def fill(self, count: int, webhooks: Callable[[int], Mapping[str, JsonValue]] | None = None) -> None:
        """Add `count` rooms (`room-000001`, ...), dated about a minute apart. The same seed adds the same rooms.

        `webhooks` returns the webhook settings of a room by its number, counted from 1.
        """
        for number in range(1, count + 1):
            created = timestamp(_FILL_START + number * _MINUTE + self._random.randrange(1_000_000))
            room = Room(
                id=self.new_id(),
                unique_name=f"room-{number:06d}",
                created_at=created,
                updated_at=created,
                webhook_event_url=OLD_WEBHOOK_URL,
            )
            if webhooks is not None:
                for name, value in webhooks(number).items():
                    setattr(room, name, value)
            self.insert(room)

    def new_id(self) -> str:
        """Return the next id, in the form of a version 4 UUID."""
        text = f"{self._random.getrandbits(128):032x}"
        variant = "89ab"[int(text[16], 16) & 3]
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"

    def now(self) -> str:
        """Return the current time as a timestamp. It is always later than the previous result."""
        self._last_microseconds = max(self._clock(), self._last_microseconds + 1)
        return timestamp(self._last_microseconds)

    def insert(self, room: Room) -> None:
        """Add a room without checking its values. Raise ValueError if its id or name is already taken.

        Several rooms may have no name.
        """
        if room.id in self.rooms:
            raise ValueError(f"the room id {room.id} is already taken")
        if room.unique_name and room.unique_name in self._ids_by_name:
            raise ValueError(f"the room name {room.unique_name!r} is already taken")
        self.rooms[room.id] = room
        if room.unique_name:
            self._ids_by_name[room.unique_name] = room.id
        self._in_order = None

    def change(self, room: Room, changes: Mapping[str, JsonValue]) -> None:
        """Set fields without checking the values, and set `updated_at` to the current time."""
        for name, value in changes.items():
            if name == "unique_name":
                self._forget_name(room)
                if value:
                    self._ids_by_name[str(value)] = room.id
            setattr(room, name, value)
        room.updated_at = self.now()

    def remove(self, room_id: str) -> None:
        """Remove a room. Raise KeyError if it does not exist."""
        room = self.rooms.pop(room_id)
        self.forget_sessions(room, keep=0)
        self._forget_name(room)
        self._in_order = None

    def _forget_name(self, room: Room) -> None:
        if room.unique_name:
            del self._ids_by_name[room.unique_name]

    def create(self, fields: Mapping[str, JsonValue]) -> Room:
        """Create a room and return it. The caller has checked the fields. The name defaults to the id."""
        room_id = self.new_id()
        now = self.now()
        room = Room(id=room_id, unique_name=room_id, created_at=now, updated_at=now)
        for name, value in fields.items():
            setattr(room, name, value)
        self.insert(room)
        return room

    def named(self, unique_name: str) -> Room | None:
        """Return the room with this name, or None."""
        room_id = self._ids_by_name.get(unique_name)
        return None if room_id is None else self.rooms[room_id]

    def select(self, unique_name: str | None, dates: Sequence[tuple[str, str, str]]) -> Sequence[Room]:
        """Return the rooms that match, in the order in which they were added.

        Each of `dates` is a field (`created_at` or `updated_at`), a relation (`eq`, `gte` or `lte`) and a day
        (YYYY-MM-DD).
        """
        if self._in_order is None:
            self._in_order = [*self.rooms.values()]
        found: Sequence[Room] = self._in_order
        if unique_name is not None:
            named = self.named(unique_name)
            found = [] if named is None else [named]
        if not dates:
            return found
        return [room for room in found if all(_on_date(room, *date) for date in dates)]

    def add_session(self, room: Room, *, active: bool, participants: Sequence[str]) -> Session:
        """Add a session to a room. An active session ends the room's previous active session."""
        if active:
            self.end_session(room)
        session_id = self.new_id()
        now = self.now()
        ended = None if active else now
        people = [Participant(self.new_id(), session_id, context, now, now, ended) for context in participants]
        session = Session(session_id, room.id, active, now, now, ended, people)
        self.sessions[session_id] = session
        self.participants.update((participant.id, participant) for participant in people)
        room.sessions = (*room.sessions, session)
        if active:
            room.active_session_id = session_id
        return session

    def end_session(self, room: Room) -> None:
        """End the active session of a room, if there is one. The participants who are present leave."""
        room.active_session_id = None
        for session in room.sessions:
            if session.active:
                session.active = False
                session.ended_at = session.updated_at = self.now()
                for participant in session.participants:
                    if participant.left_at is None:
                        participant.left_at = participant.updated_at = session.ended_at

    def add_participant(self, session: Session, context: str) -> Participant:
        """Add a participant to a session."""
        now = self.now()
        participant = Participant(self.new_id(), session.id, context, now, now)
        session.participants.append(participant)
        session.updated_at = now
        self.participants[participant.id] = participant
        return participant

    def remove_participant(self, participant: Participant) -> str:
        """Let a participant leave, and return the time."""
        now = participant.left_at = participant.updated_at = self.now()
        self.sessions[participant.session_id].updated_at = now
        return now

    def forget_sessions(self, room: Room, *, keep: int) -> None:
        """Remove the oldest sessions of a room, so that `keep` are left."""
        split = max(0, len(room.sessions) - keep)
        for session in room.sessions[:split]:
            del self.sessions[session.id]
            for participant in session.participants:
                del self.participants[participant.id]
        room.sessions = room.sessions[split:]


def _on_date(room: Room, field: str, relation: str, date: str) -> bool:
    changed_at = room.created_at if field == "created_at" else room.updated_at
    return _RELATIONS[relation](changed_at[:10], date)


class RoomsView(Mapping[str, dict[str, JsonValue]]):
    """The rooms by id, as JSON objects. Each lookup returns a new dict with the current state."""

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
