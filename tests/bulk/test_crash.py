"""Applies that are killed at random instants, and resumed. `python -m benchmarks crash` does it some hundred times."""

from benchmarks import crash


def test_an_apply_that_is_killed_is_resumed_and_nothing_is_sent_twice() -> None:
    campaign = crash.play([1, 2, 3], 60)
    assert campaign.runs == 3
    assert campaign.kills >= 1
    assert campaign.resent == 0
