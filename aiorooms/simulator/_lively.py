"""Sessions at random: a step now and then, such as a participant who joins.

Sessions take place in the rooms whose webhook URL is on loopback, so that a receiver on this machine gets many events
even if only one of 1,000 rooms has its URL. If there is no such room, they take place in all rooms.
"""

import asyncio
from collections.abc import Sequence
from itertools import islice
from random import Random
from typing import Literal, TypeAlias

from ._account import Account, Participant, Room, Session
from ._meetings import Meetings
from ._targets import names_loopback

_MAX_SESSIONS = 20
_MAX_PRESENT = 5
_MAX_SEARCHED = 10_000
"""The number of rooms, from the first on, in which sessions can take place. Searching all would block the loop."""
_KEPT_SESSIONS = 10
"""The number of sessions of a room that are kept. Otherwise, memory would grow without bound."""

_NAMES = ("Alice", "Bob", "Carol", "Dave", "Erin", "Frank", "Grace", "Heidi")
_LEFT_REASONS = ("left", "kicked")
_ENDED_REASONS = ("ended", "stale")

Step: TypeAlias = Literal["start", "join", "leave", "end"]


def choose_step(number: float, *, sessions: int, present: int, seats: int) -> Step:
    """Return the next step. `number` is random, from 0 to 1 (exclusive).

    `sessions` is the number of active sessions. `present` is the number of participants in the session that the step
    can change, and `seats` is how many it can have.
    """
    if not sessions or (number < 0.2 and sessions < _MAX_SESSIONS):
        return "start"
    if not present:
        return "end"
    if number < 0.65:
        return "join" if present < seats else "leave"
    return "leave" if number < 0.9 and present > 1 else "end"


class Lively:
    """Makes random steps. The same seed makes the same choices."""

    def __init__(self, account: Account, meetings: Meetings, seed: int) -> None:
        self._account = account
        self._meetings = meetings
        self._random = Random(seed)  # noqa: S311 - not a secret
        self._started: list[str] = []
        """The ids of the sessions that were started here."""

    async def run(self, rate: float) -> None:
        """Make `rate` steps per second until cancelled."""
        while True:
            await asyncio.sleep(1 / rate)
            self.step()

    def step(self) -> None:
        """Make one step. Do nothing if there is no room without an active session to start one in."""
        sessions = self._active()
        session = self._random.choice(sessions) if sessions else None
        present = _present(session)
        seats = 0 if session is None else min(_MAX_PRESENT, self._account.rooms[session.room_id].max_participants)
        step = choose_step(self._random.random(), sessions=len(sessions), present=len(present), seats=seats)
        if session is None or step == "start":
            self._start()
        elif step == "join":
            self._meetings.join(session.id, self._random.choice(_NAMES))
        elif step == "leave":
            self._meetings.leave(self._random.choice(present).id, self._random.choice(_LEFT_REASONS))
        else:
            self._end(session)

    def _active(self) -> list[Session]:
        found = [self._account.sessions.get(session_id) for session_id in self._started]
        active = [session for session in found if session is not None and session.active]
        self._started = [session.id for session in active]
        return active

    def _start(self) -> None:
        rooms = _preferred([*islice(self._account.rooms.values(), _MAX_SEARCHED)])
        free = [room for room in rooms if room.active_session_id is None]
        if free:
            session = self._meetings.start(self._random.choice(free).id)
            self._started.append(session.id)
            self._meetings.join(session.id, self._random.choice(_NAMES))

    def _end(self, session: Session) -> None:
        room = self._account.rooms[session.room_id]
        self._meetings.end(session.id, self._random.choice(_ENDED_REASONS))
        if room.enable_recording:
            self._meetings.complete_composition(session.id, "1280x720")
        self._account.forget_sessions(room, keep=_KEPT_SESSIONS)


def _present(session: Session | None) -> list[Participant]:
    people = () if session is None else session.participants
    return [participant for participant in people if participant.left_at is None]


def _preferred(rooms: Sequence[Room]) -> Sequence[Room]:
    local = [room for room in rooms if room.webhook_event_url and names_loopback(str(room.webhook_event_url))]
    return local or rooms
