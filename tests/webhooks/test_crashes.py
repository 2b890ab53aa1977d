"""A receiver that is killed loses no acknowledged event, and handles none again that it has finished."""

from benchmarks import receiver


def test_no_event_is_lost_if_the_receiver_is_killed() -> None:
    """`python -m benchmarks receiver` kills it 20 times while 2,000 events arrive."""
    found = receiver.play(seed=2, events=100, kills=3)
    assert found.kills == 3
    assert found.acknowledged == found.begun == 100
    assert (found.lost, found.finished_twice) == (0, 0)
