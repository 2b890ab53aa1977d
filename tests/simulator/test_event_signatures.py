"""Events are signed as the API signs them, and unsigned without the package cryptography."""

import base64
import sys
import time

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from aiorooms.simulator import Deliveries, RoomsSimulator

from .receivers import Received, receiver, room_with
from .test_failover import failing_first


def verify(event: Received, public_key: str | None) -> None:
    """Raise InvalidSignature if the signature of an event is not valid."""
    assert public_key is not None
    signature = base64.b64decode(event.headers["telnyx-signature-ed25519"], validate=True)
    assert len(signature) == 64
    signed = event.headers["telnyx-timestamp"].encode() + b"|" + event.body
    Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key, validate=True)).verify(signature, signed)


async def test_every_attempt_is_signed() -> None:
    async with RoomsSimulator(deliveries=Deliveries(backoff=0)) as sim, receiver(failing_first(1)) as hooks:
        sim.start_session(room_with(sim, hooks.url))
        await sim.delivered()
        assert [event.json["meta"]["attempt"] for event in hooks.received] == [1, 2]
        for event in hooks.received:
            verify(event, sim.public_key)
            assert abs(int(event.headers["telnyx-timestamp"]) - time.time()) < 60
        with pytest.raises(InvalidSignature):
            verify(hooks.received[0], RoomsSimulator(seed=1).public_key)


def test_the_same_seed_makes_the_same_key() -> None:
    keys = [RoomsSimulator(seed=seed).public_key for seed in (0, 0, 1)]
    assert keys[0] == keys[1] != keys[2]


async def test_without_cryptography_events_are_unsigned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.ed25519", None)
    async with RoomsSimulator() as sim, receiver() as hooks:
        assert sim.public_key is None
        sim.start_session(room_with(sim, hooks.url))
        await sim.delivered()
        (event,) = hooks.received
        assert "telnyx-signature-ed25519" not in event.headers
        assert event.headers["telnyx-timestamp"].isdecimal()
