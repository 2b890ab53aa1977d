"""The gate for the first moments without the store."""

import pytest

from aiorooms._pacing.gate import Permit
from aiorooms._pacing.shared.takeover import Takeover


def sent_by(gate: Takeover, begin: float, seconds: float) -> list[float]:
    """Send as much as the gate allows, and return when."""
    times: list[float] = []
    now = begin
    while now < begin + seconds:
        at = gate.may_send_at(now, 0)
        if at > now:
            now = at
        elif len(times) < 1000:
            gate.sent(Permit(now), 0)
            times.append(round(now - begin, 6))
        else:
            break
    return times


def test_it_is_open_before_the_store_was_ever_lost() -> None:
    assert Takeover().may_send_at(5.0, 0) <= 5.0


def test_two_requests_are_sent_at_once_and_then_the_part_of_the_client() -> None:
    gate = Takeover()
    gate.begin(10.0, rate=20.0)
    times = sent_by(gate, 10.0, 0.2)
    assert times[:5] == [0.0, 0.0, 0.05, 0.1, 0.15]


@pytest.mark.parametrize("rate", [0.001, 2.5, 10.0])
def test_no_call_waits_for_longer_than_a_fifth_of_a_second(rate: float) -> None:
    gate = Takeover()
    gate.begin(10.0, rate)
    for _ in range(2):
        gate.sent(Permit(10.0), 0)
    assert 10.0 < gate.may_send_at(10.0, 0) <= 10.2
    assert gate.may_send_at(10.2, 0) <= 10.2


def test_it_begins_again_with_each_loss() -> None:
    gate = Takeover()
    gate.begin(10.0, 1.0)
    for _ in range(50):
        gate.sent(Permit(11.0), 0)
    gate.begin(12.0, 1.0)
    assert sent_by(gate, 12.0, 0.19) == [0.0, 0.0]
