"""The events of sessions: which are sent, in which order, and what they contain."""

from typing import Any

import pytest

from aiorooms.simulator import RoomsSimulator

from .calling import ask
from .receivers import receiver, room_with


async def test_a_session_sends_its_events_in_order() -> None:
    async with RoomsSimulator() as sim, receiver() as hooks:
        room_id = room_with(sim, hooks.url)
        session_id = sim.start_session(room_id)
        alice = sim.join(room_id, context="Alice")
        bob = sim.join(session_id, context="Bob")
        sim.leave(alice, reason="kicked")
        sim.leave(alice)
        sim.end_session(room_id, reason="stale")
        sim.end_session(session_id)
        composition_id = sim.complete_composition(session_id)
        await sim.delivered()
        assert hooks.types == [
            "session.started",
            "participant.joined",
            "participant.joined",
            "participant.left",
            "participant.left",
            "session.ended",
            "composition.completed",
        ]
        assert sim.stats.events == {"delivered": 7}
        assert len({event.data["id"] for event in hooks.received}) == 7
        assert sorted(event.data["occurred_at"] for event in hooks.received) == [
            event.data["occurred_at"] for event in hooks.received
        ]
        for event in hooks.received:
            assert [*event.json] == ["data", "meta"]
            assert [*event.data] == ["record_type", "event_type", "id", "occurred_at", "payload"]
            assert event.data["record_type"] == "event"
            assert event.json["meta"] == {"attempt": 1, "delivered_to": hooks.url}
            assert event.headers["Content-Type"] == "application/json"
        payloads = [event.data["payload"] for event in hooks.received]
        ids = {"session_id": session_id, "room_id": room_id}
        assert payloads == [
            ids,
            {**ids, "participant_id": alice, "context": "Alice"},
            {**ids, "participant_id": bob, "context": "Bob"},
            {**ids, "participant_id": alice, "context": "Alice", "duration_secs": 0, "left_reason": "kicked"},
            {**ids, "participant_id": bob, "context": "Bob", "duration_secs": 0, "left_reason": "session_ended"},
            {**ids, "duration_secs": 0, "ended_reason": "stale"},
            {
                **ids,
                "composition_id": composition_id,
                "download_url": f"https://downloads.example.com/compositions/{composition_id}.mp4",
                "duration_secs": 0,
                "format": "mp4",
                "resolution": "1280x720",
                "size_mb": 0.1,
            },
        ]


async def test_a_room_that_records_sends_recordings_of_each_participant() -> None:
    async with RoomsSimulator() as sim, receiver() as hooks:
        room_id = room_with(sim, hooks.url, enable_recording=True)
        participant_id = sim.join(room_id)
        sim.end_session(room_id)
        await sim.delivered()
        assert hooks.types == [
            "session.started",
            "participant.joined",
            "recording.started",
            "recording.started",
            "participant.left",
            "session.ended",
            "recording.completed",
            "recording.completed",
        ]
        started = hooks.received[2].data["payload"]
        completed = hooks.received[6].data["payload"]
        assert (started["type"], started["participant_id"]) == ("audio", participant_id)
        assert completed == {
            **started,
            "download_url": f"https://downloads.example.com/recordings/{started['recording_id']}.ogg",
            "duration_secs": 0,
            "size_mb": 0.1,
            "codec": "opus",
        }


async def test_a_recording_can_be_started_and_completed_explicitly() -> None:
    async with RoomsSimulator() as sim, receiver() as hooks:
        room_id = room_with(sim, hooks.url)
        recording_id = sim.start_recording(sim.join(room_id), type="video")
        sim.complete_recording(recording_id)
        with pytest.raises(KeyError):
            sim.complete_recording(recording_id)
        sim.end_session(room_id)
        await sim.delivered()
        assert hooks.types[2:4] == ["recording.started", "recording.completed"]
        assert "recording.completed" not in hooks.types[4:]
        assert hooks.received[3].data["payload"]["recording_id"] == recording_id


async def test_the_api_shows_the_sessions() -> None:
    async with RoomsSimulator() as sim:
        room_id = room_with(sim, "")
        session_id = sim.start_session(room_id)
        left = sim.join(room_id, context="Alice")
        sim.join(room_id, context="Bob")
        sim.leave(left)
        path = f"/rooms/{room_id}?include_sessions=true"
        room = (await ask(sim, "GET", path)).data
        assert room["active_session_id"] == session_id
        alice, bob = room["sessions"][0]["participants"]
        assert ("left_at" in alice, "left_at" in bob) == (True, False)
        sim.end_session(session_id)
        (session,) = (await ask(sim, "GET", path)).data["sessions"]
        assert not session["active"]
        assert session["participants"][0] == alice, "who has left does not leave again"
        assert session["participants"][1]["left_at"] == session["ended_at"]


async def test_a_new_session_ends_the_one_before() -> None:
    async with RoomsSimulator() as sim, receiver() as hooks:
        room_id = room_with(sim, hooks.url)
        first = sim.start_session(room_id)
        sim.start_session(room_id)
        await sim.delivered()
        assert hooks.types == ["session.started", "session.ended", "session.started"]
        with pytest.raises(ValueError, match=f"the session {first} has ended; start another one in the room"):
            sim.join(first)


async def test_add_session_sends_nothing_but_its_session_can_be_continued() -> None:
    async with RoomsSimulator() as sim, receiver() as hooks:
        room_id = room_with(sim, hooks.url)
        session_id = sim.add_session(room_id, participants=["Alice"])
        await sim.delivered()
        assert hooks.received == []
        sim.join(session_id)
        sim.end_session(room_id)
        await sim.delivered()
        assert hooks.types == ["participant.joined", "participant.left", "participant.left", "session.ended"]


async def test_the_urls_are_those_at_the_time_of_the_event() -> None:
    async with RoomsSimulator() as sim, receiver() as hooks, receiver() as later:
        room_id = room_with(sim, hooks.url)
        sim.start_session(room_id)
        sim.change_room(room_id, webhook_event_url=later.url)
        sim.join(room_id)
        await sim.delivered()
        assert (hooks.types, later.types) == (["session.started"], ["participant.joined"])


@pytest.mark.parametrize("url", ["", None])
async def test_a_room_without_a_url_sends_nothing(url: Any) -> None:
    async with RoomsSimulator() as sim, receiver() as hooks:
        room_id = room_with(sim, url, hooks.url)
        sim.join(room_id)
        await sim.delivered()
        assert (hooks.received, [*sim.delivery_log]) == ([], [])


async def test_a_simulator_that_is_not_running_sends_nothing() -> None:
    async with receiver() as hooks:
        sim = RoomsSimulator()
        sim.join(room_with(sim, hooks.url))
        await sim.delivered()
        sim.wait_until_delivered()
        async with sim:
            await sim.delivered()
        assert hooks.received == []


def test_unknown_ids_raise() -> None:
    sim = RoomsSimulator(rooms=1)
    participant_id = sim.join(sim.room_ids[0])
    for call in (sim.start_session, sim.join, sim.leave, sim.end_session, sim.complete_composition):
        with pytest.raises(KeyError):
            call("unknown")
    sim.remove_room(sim.room_ids[0])
    with pytest.raises(KeyError):
        sim.leave(participant_id)


async def test_the_receiver_of_the_simulator_accepts_its_events() -> None:
    async with RoomsSimulator() as sim:
        sim.record = True
        sim.join(room_with(sim, f"{sim.receiver_url}/rooms"))
        await sim.delivered()
        assert [request.path for request in sim.recorded] == ["/webhooks/rooms"] * 2
        assert sim.stats.events == {"delivered": 2}
        assert not [request for request in sim.recorded if b"aiorooms.probe" in request.body]
        sim.reset_stats()
        assert (sim.stats.events, [*sim.delivery_log]) == ({}, [])
