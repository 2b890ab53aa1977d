"""No error, log or repr contains the API key."""

import logging

import pytest

from aiorooms import APIError, AuthenticationError, RoomsClient
from aiorooms.simulator import FaultKind, Faults, RoomsSimulator

from ..conftest import QUICK


async def test_no_error_log_or_repr_contains_the_key(caplog: pytest.LogCaptureFixture) -> None:
    key = "KEY_very_secret"
    caplog.set_level(logging.DEBUG)
    errors: list[Exception] = []
    kinds: list[FaultKind] = ["bad_http", "garbage", "truncated", "500", "502", "reset_before", "stall_before", "429"]
    for kind in kinds:
        async with RoomsSimulator(rooms=1, api_key=key, faults=Faults(rate=1, kinds=[kind])) as sim:
            async with RoomsClient(key, base_url=sim.url, retry=QUICK, timeout=0.05) as client:
                with pytest.raises(APIError) as caught:
                    await client.rooms.retrieve(sim.room_ids[0])
                errors.append(caught.value)
                assert key not in repr(client) + str(client) + repr(client.rooms)
    async with RoomsSimulator(rooms=1) as sim, RoomsClient(key, base_url=sim.url) as client:
        with pytest.raises(AuthenticationError) as rejected:
            await client.rooms.retrieve(sim.room_ids[0])
        errors.append(rejected.value)
    for error in errors:
        seen: BaseException | None = error
        while seen is not None:
            assert key not in repr(seen) + str(seen) + repr(vars(seen))
            seen = seen.__cause__ or seen.__context__
    assert key not in caplog.text
