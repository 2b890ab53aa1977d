"""The fuzz of the benchmarks in a short form, and its checks: each of them notices what it is there for."""

import attrs
import pytest

from aiorooms import APIConnectionError, AuthenticationError, NotFoundError, Room, RoomUpdate, UpdateResult
from benchmarks import fuzz
from benchmarks._fuzz_server import Ledger, room_url

from .samples import ROOM_ID

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("seed", range(12))
def test_every_outcome_is_true_in_a_short_run(seed: int) -> None:
    campaign = fuzz.play([seed], updates=40)
    assert campaign.runs == 1
    assert campaign.updates == 40


UPDATE = RoomUpdate(webhook_event_url=room_url(7), max_participants=3)
OK = UpdateResult(
    room_id=ROOM_ID, update=UPDATE, status="updated", room=Room(id=ROOM_ID, max_participants=3), attempts=1
)
FAILED = attrs.evolve(OK, status="failed", room=None, error=APIConnectionError("no answer"))


def plan(*, applied: list[int], received: int = 1, known: bool = True) -> fuzz.Plan:
    """Return a plan with one update, and the ledger of a server that received and applied it as given."""
    ledger = Ledger({ROOM_ID: {}} if known else {})
    ledger.received[7] = received
    ledger.applied[ROOM_ID] = applied
    made = fuzz.make_plan(1, 1)
    return attrs.evolve(made, how="complete", updates=[(ROOM_ID, UPDATE)], ledger=ledger, own_session=True)


@pytest.mark.parametrize(
    ("found", "result", "mistake"),
    [
        (plan(applied=[7]), OK, None),
        (plan(applied=[]), FAILED, None),
        (plan(applied=[7]), attrs.evolve(FAILED, status="uncertain"), None),
        (plan(applied=[], known=False), attrs.evolve(FAILED, error=NotFoundError("no", status=404)), None),
        (plan(applied=[]), OK, "reported as updated, but was not applied"),
        (plan(applied=[7]), FAILED, "reported as failed, but was applied"),
        (plan(applied=[7]), attrs.evolve(OK, room=Room(id=ROOM_ID, max_participants=4)), "its room has 4"),
        (plan(applied=[7]), attrs.evolve(FAILED, status="skipped"), "reported as skipped, but was applied"),
        (plan(applied=[]), attrs.evolve(FAILED, status="skipped", attempts=0), "without an attempt, but was sent"),
        (plan(applied=[7], received=3), OK, "received 3 times, with 1 attempts"),
        (plan(applied=[7, 8, 7]), OK, "out of order"),
        (plan(applied=[]), attrs.evolve(FAILED, error=AuthenticationError("no", status=401)), "another request"),
        (plan(applied=[]), attrs.evolve(FAILED, error=NotFoundError("no", status=404)), "another request"),
    ],
)
def test_a_wrong_result_is_noticed(found: fuzz.Plan, result: UpdateResult, mistake: str | None) -> None:
    wrong = fuzz.mistakes(found, fuzz.Seen(results=[result]))
    assert (mistake is None) == (wrong == [])
    assert mistake is None or mistake in wrong[0]


@pytest.mark.parametrize(
    ("seen", "mistake"),
    [
        (fuzz.Seen(results=[OK, OK]), "update 7 has 2 results"),
        (fuzz.Seen(), "0 results for 1 updates"),
        (fuzz.Seen(results=[OK], errors=[KeyError("a bug")]), "a bug"),
        (fuzz.Seen(results=[OK], leaks=["a task is left"]), "a task is left"),
        (fuzz.Seen(results=[OK], invalid=1), "0 results for 1 invalid items"),
    ],
)
def test_a_wrong_number_of_results_an_exception_or_a_leak_is_noticed(seen: fuzz.Seen, mistake: str) -> None:
    assert any(mistake in text for text in fuzz.mistakes(plan(applied=[7]), seen))
