"""Bulk runs are killed at random instants and resumed, while others change rooms.

`python -m benchmarks crash` does the same for 300 runs.
"""

from benchmarks import crash


def test_killed_runs_are_resumed_and_no_updated_room_is_sent_again() -> None:
    campaign = crash.play([1, 2, 3], 60)
    assert campaign.runs == 3
    assert campaign.kills >= 1
    assert campaign.resent == 0
    assert campaign.changed >= 1
