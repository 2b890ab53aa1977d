"""The breaker stops a run whose updates fail: pure, and in the commands apply, resume and update."""

import json
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms.bulk import Journal
from aiorooms.cli._breaker import Breaker
from aiorooms.simulator import RoomsSimulator

from .conftest import KEY, Invoke, lines, planned

JOURNAL = "rooms.plan.journal"


def stops_at(statuses: list[str], *, enabled: bool = True) -> tuple[int, str] | None:
    """Return the number of the outcome that stops a run, and the reason."""
    breaker = Breaker(enabled=enabled)
    for number, status in enumerate(statuses, 1):
        if (reason := breaker.add(status)) is not None:
            assert breaker.reason == reason
            return number, reason
    assert breaker.reason is None
    return None


U, F = ["updated"], ["failed"]


@pytest.mark.parametrize(
    ("statuses", "stop"),
    [
        ([], None),
        (F * 10, None),  # a small plan, in which all fail
        (F * 11, (11, "11 of the first 11 updates failed")),
        (U * 39 + F * 10, None),
        (U * 39 + F * 11, (50, "11 of the first 50 updates failed")),
        (U * 40 + F * 10 + U * 100 + F * 49 + U, None),
        (U * 40 + F * 11, None),  # the 11th failure is update 51
        (U * 41 + F * 49, None),
        (U * 41 + F * 50, (91, "50 updates in a row failed")),
        (U * 50 + (F * 49 + U) * 10, None),
        (U * 50 + (F + U + U) * 500, None),  # every third update fails
        (U * 120_000 + F * 50, (120_050, "50 updates in a row failed")),
        ((U + F) * 100, (22, "11 of the first 22 updates failed")),
    ],
)
def test_a_run_stops_if_too_many_updates_fail(statuses: list[str], stop: tuple[int, str] | None) -> None:
    assert stops_at(statuses) == stop
    assert stops_at(statuses, enabled=False) is None


@given(st.lists(st.sampled_from(["updated", "failed"]), max_size=200))
def test_the_first_rule_is_more_than_a_fifth_of_the_first_fifty(statuses: list[str]) -> None:
    stop = stops_at(statuses)
    assert (stop is not None and stop[0] <= 50) is (statuses[:50].count("failed") > 10)


@given(st.lists(st.sampled_from(["updated", "failed"]), max_size=150), st.data())
def test_other_outcomes_change_nothing(statuses: list[str], data: st.DataObject) -> None:
    breaker, other = Breaker(), Breaker()
    for status in statuses:
        for ignored in data.draw(st.lists(st.sampled_from(["conflict", "skipped", "uncertain"]), max_size=2)):
            assert other.add(ignored) is None
        assert other.add("updated", found=True) is None
        assert other.add(status) == breaker.add(status)


@given(st.lists(st.sampled_from(["updated", "failed"]), max_size=300))
def test_the_reason_is_given_once(statuses: list[str]) -> None:
    breaker = Breaker()
    assert sum(breaker.add(status) is not None for status in statuses) <= 1


# --- commands ---


ROOMS = 80


@pytest.fixture
def sim() -> Iterator[RoomsSimulator]:
    with RoomsSimulator(rooms=ROOMS, api_key=KEY) as simulator:
        yield simulator


def remove(sim: RoomsSimulator, count: int) -> list[str]:
    """Remove the first rooms, whose updates then fail with 404. Return their ids."""
    removed = sim.room_ids[:count]
    for room_id in removed:
        sim.remove_room(room_id)
    return removed


ONE_BY_ONE = ("--yes", "--concurrency", "1")


def test_apply_stops_and_says_why_and_how_to_go_on(sim: RoomsSimulator, invoke: Invoke) -> None:
    planned(invoke)
    remove(sim, 30)
    result = invoke("apply", "rooms.plan", *ONE_BY_ONE)
    assert result.exit_code == 1
    states = [*Journal.open(JOURNAL).states().values()]
    assert 11 <= len(states) < 15, "the run went on"
    assert set(states) == {"failed"}
    assert (
        "aiorooms: stopped: 11 of the first 11 updates failed; find the cause before you continue, or give --no-breaker"
        " to continue anyway" in lines(result.stderr)
    )
    assert lines(result.stderr)[-2:] == [
        f"To continue: aiorooms resume {JOURNAL}",
        f"To retry failed rooms too: aiorooms resume {JOURNAL} --retry-failed",
    ]
    assert [record["stop"] for record in Journal.open(JOURNAL).records() if "stop" in record] == [
        "stopped: breaker: 11 of the first 11 updates failed"
    ]


def test_resume_stops_too_and_no_breaker_goes_on(sim: RoomsSimulator, invoke: Invoke) -> None:
    planned(invoke)
    remove(sim, 30)
    result = invoke("apply", "rooms.plan", *ONE_BY_ONE, "--json")
    assert json.loads(lines(result.stdout)[-1])["stopped_by"] == "breaker: 11 of the first 11 updates failed"
    again = invoke("resume", JOURNAL, *ONE_BY_ONE, "--json")
    assert again.exit_code == 1
    assert json.loads(lines(again.stdout)[-1])["stopped_by"] == "breaker: 11 of the first 11 updates failed"
    last = invoke("resume", JOURNAL, *ONE_BY_ONE, "--json", "--no-breaker")
    totals = json.loads(lines(last.stdout)[-1])
    assert (totals["updated"], totals["failed"], totals["stopped_by"]) == (ROOMS - 30, 30, None)


@pytest.mark.parametrize("command", ["apply", "update"])
def test_a_run_that_stopped_for_another_reason_is_not_stopped_again(
    sim: RoomsSimulator, invoke: Invoke, command: str
) -> None:
    planned(invoke)
    ids = sim.room_ids
    remove(sim, ROOMS)
    sim.latency = 0.1  # so that more than 11 updates are in flight when the first ones fail
    options = ("--concurrency", "40", "--max-failures", "2")
    if command == "apply":
        result = invoke("apply", "rooms.plan", "--yes", "--force", *options)
    else:
        result = invoke("update", "-", "--max-participants", "30", *options, stdin="\n".join(ids))
    assert result.exit_code == 1
    found = re.search(r"(\d+) failed", result.stderr)
    assert found is not None
    assert int(found[1]) > 10, "the breaker had no reason to stop the run"
    assert "updates failed; find the cause" not in result.stderr
    assert "--retry-failed" not in result.stderr


def test_apply_without_the_breaker_goes_on(sim: RoomsSimulator, invoke: Invoke) -> None:
    planned(invoke)
    remove(sim, 30)
    result = invoke("apply", "rooms.plan", "--yes", "--no-breaker")
    assert result.exit_code == 1
    assert f"{ROOMS - 30} updated, 30 failed, out of {ROOMS}." in lines(result.stderr)
    assert "stopped" not in result.stderr


def test_ten_failures_do_not_stop_a_run(sim: RoomsSimulator, invoke: Invoke) -> None:
    planned(invoke)
    remove(sim, 10)
    result = invoke("apply", "rooms.plan", "--yes")
    assert f"{ROOMS - 10} updated, 10 failed, out of {ROOMS}." in lines(result.stderr)


def test_conflicts_do_not_stop_a_run(sim: RoomsSimulator, invoke: Invoke) -> None:
    planned(invoke)
    for room_id in sim.room_ids[:60]:
        sim.change_room(room_id, max_participants=7)
    result = invoke("apply", "rooms.plan", "--yes")
    assert f"{ROOMS - 60} updated, 60 in conflict, out of {ROOMS}." in lines(result.stderr)


def test_update_of_many_rooms_stops(sim: RoomsSimulator, invoke: Invoke) -> None:
    ids = sim.room_ids
    remove(sim, 30)
    command = ("update", "-", "--max-participants", "30", "--concurrency", "1", "--json")
    result = invoke(*command, stdin="\n".join(ids))
    assert result.exit_code == 1
    statuses = [json.loads(line)["status"] for line in lines(result.stdout)]
    assert 11 <= statuses.count("failed") < 15
    assert statuses.count("skipped") == ROOMS - statuses.count("failed")
    assert lines(result.stderr)[-1].startswith("aiorooms: stopped: 11 of the first 11 updates failed; find the cause")
    result = invoke(*command, "--no-breaker", stdin="\n".join(ids))
    assert [json.loads(line)["status"] for line in lines(result.stdout)].count("updated") == ROOMS - 30
