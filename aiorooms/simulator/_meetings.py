"""The life of sessions: they start, participants join and leave, recordings start and complete, and sessions end.

Each change is stored in the account, and then passed to `emit` as an event. This module does no I/O.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Literal, TypeAlias

import attrs

from ._account import Account, Participant, Room, Session
from ._answers import JsonObject
from ._events import Event, EventType

RecordingType: TypeAlias = Literal["audio", "video"]

_RECORDING_TYPES: tuple[RecordingType, ...] = ("audio", "video")
_CODECS = {"audio": "opus", "video": "vp8"}
_ENDINGS = {"audio": "ogg", "video": "mkv"}
_DOWNLOADS = "https://downloads.example.com"
_MB_PER_SECOND = 0.1


@attrs.frozen
class _Recording:
    """A recording of one participant, which is not complete."""

    id: str
    participant: Participant
    type: RecordingType
    started_at: str


class Meetings:
    """Starts and ends the sessions of one account."""

    def __init__(self, account: Account, emit: Callable[[Room, Event], None]) -> None:
        """Start without recordings. `emit` is called with each event and its room."""
        self._account = account
        self._emit = emit
        self._recordings: dict[str, _Recording] = {}

    def start(self, room_id: str) -> Session:
        """Start a session in a room. If the room has an active session, end it first."""
        room = self._account.rooms[room_id]
        self.end(room_id, "ended")
        session = self._account.add_session(room, active=True, participants=())
        self._emit_event(session, "video.room.session.started", {}, session.created_at)
        return session

    def join(self, room_or_session_id: str, context: str) -> Participant:
        """Add a participant to a session, or to the active session of a room, which is started if there is none."""
        session = self._session(room_or_session_id) or self.start(room_or_session_id)
        if not session.active:
            raise ValueError(f"the session {session.id} has ended; start another one in the room {session.room_id}")
        participant = self._account.add_participant(session, context)
        payload: JsonObject = {"participant_id": participant.id, "context": context}
        self._emit_event(session, "video.room.participant.joined", payload, participant.joined_at)
        if self._account.rooms[session.room_id].enable_recording:
            for kind in _RECORDING_TYPES:
                self.start_recording(participant.id, kind)
        return participant

    def leave(self, participant_id: str, reason: str) -> None:
        """Let a participant leave. Do nothing if the participant has already left."""
        participant = self._account.participants[participant_id]
        if participant.left_at is None:
            session = self._account.sessions[participant.session_id]
            left_at = self._account.remove_participant(participant)
            self._emit_left(session, participant, left_at, reason)

    def end(self, room_or_session_id: str, reason: str) -> None:
        """End a session, or the active session of a room. Do nothing if there is none, or if it has ended."""
        session = self._session(room_or_session_id)
        if session is None or not session.active:
            return
        present = [participant for participant in session.participants if participant.left_at is None]
        room = self._account.rooms[session.room_id]
        self._account.end_session(room)
        ended_at = session.ended_at or session.updated_at
        for participant in present:
            self._emit_left(session, participant, ended_at, "session_ended")
        payload: JsonObject = {"duration_secs": _seconds(session.created_at, ended_at), "ended_reason": reason}
        self._emit_event(session, "video.room.session.ended", payload, ended_at)
        for recording in [*self._recordings.values()]:
            if recording.participant.session_id == session.id:
                self.complete_recording(recording.id)

    def start_recording(self, participant_id: str, kind: RecordingType) -> str:
        """Start a recording of a participant, and return its id."""
        participant = self._account.participants[participant_id]
        recording = _Recording(self._account.new_id(), participant, kind, self._account.now())
        self._recordings[recording.id] = recording
        session = self._account.sessions[participant.session_id]
        self._emit_event(session, "video.room.recording.started", _recording_payload(recording), recording.started_at)
        return recording.id

    def complete_recording(self, recording_id: str) -> None:
        """Complete a recording. Raise KeyError if it is not active."""
        recording = self._recordings.pop(recording_id)
        session = self._account.sessions[recording.participant.session_id]
        now = self._account.now()
        duration = _seconds(recording.started_at, recording.participant.left_at or now)
        payload: JsonObject = {
            **_recording_payload(recording),
            "download_url": f"{_DOWNLOADS}/recordings/{recording.id}.{_ENDINGS[recording.type]}",
            "duration_secs": duration,
            "size_mb": _size(duration),
            "codec": _CODECS[recording.type],
        }
        self._emit_event(session, "video.room.recording.completed", payload, now)

    def complete_composition(self, session_id: str, resolution: str) -> str:
        """Complete a composition of the recordings of a session, and return its id."""
        session = self._account.sessions[session_id]
        composition_id = self._account.new_id()
        now = self._account.now()
        duration = _seconds(session.created_at, session.ended_at or now)
        payload: JsonObject = {
            "composition_id": composition_id,
            "download_url": f"{_DOWNLOADS}/compositions/{composition_id}.mp4",
            "duration_secs": duration,
            "format": "mp4",
            "resolution": resolution,
            "size_mb": _size(duration),
        }
        self._emit_event(session, "video.room.composition.completed", payload, now)
        return composition_id

    def _session(self, room_or_session_id: str) -> Session | None:
        """Return a session, or the active session of a room. Raise KeyError if there is no such room or session."""
        room = self._account.rooms.get(room_or_session_id)
        if room is None:
            return self._account.sessions[room_or_session_id]
        return None if room.active_session_id is None else self._account.sessions.get(room.active_session_id)

    def _emit_left(self, session: Session, participant: Participant, left_at: str, reason: str) -> None:
        payload: JsonObject = {
            "participant_id": participant.id,
            "context": participant.context,
            "duration_secs": _seconds(participant.joined_at, left_at),
            "left_reason": reason,
        }
        self._emit_event(session, "video.room.participant.left", payload, left_at)

    def _emit_event(self, session: Session, kind: EventType, payload: JsonObject, at: str) -> None:
        ids: JsonObject = {"session_id": session.id, "room_id": session.room_id}
        event = Event(self._account.new_id(), kind, session.room_id, at, {**ids, **payload})
        self._emit(self._account.rooms[session.room_id], event)


def _recording_payload(recording: _Recording) -> JsonObject:
    return {"participant_id": recording.participant.id, "recording_id": recording.id, "type": recording.type}


def _seconds(start: str, end: str) -> int:
    return int((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())


def _size(duration: int) -> float:
    return round(0.1 + duration * _MB_PER_SECOND, 1)
