"""Times of many requests in few groups, compared with a sorted list of all times."""

import math
from bisect import insort

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiorooms._pacing.times import Times

MANY = 1_000_000

grid = st.integers(0, 400).map(lambda tick: tick / 16)
"""Times that are often equal, and that floats represent exactly."""

resolutions = st.sampled_from([0.0, 0.0625, 0.5, 2.0])
additions = st.lists(st.tuples(grid, st.integers(1, 4)), max_size=60)
in_order = additions.map(sorted)


def plain(added: list[tuple[float, int]]) -> list[float]:
    """Return all times, sorted."""
    times: list[float] = []
    for at, count in added:
        for _ in range(count):
            insort(times, at)
    return times


def filled(added: list[tuple[float, int]], resolution: float = 0.0, most: int = MANY) -> Times:
    times = Times(most, resolution)
    for at, count in added:
        times.add(at, count)
    return times


def content(times: Times) -> list[tuple[float, int]]:
    _, *values = times.dump()
    numbers = iter(values)
    groups = zip(numbers, numbers, numbers, strict=True)
    return [(first if first == -math.inf else first + duration, int(count)) for first, duration, count in groups]


# --- tables ---


def test_the_example_of_the_module() -> None:
    times = filled([(5.0, 1), (5.02, 1), (5.08, 1), (5.2, 1)], 0.1)
    assert content(times) == [(5.08, 3), (5.2, 1)]
    assert times.count_after(6.04 - 1) == 4
    assert times.count_after(5.08) == 1
    assert times.first == 5.08


@pytest.mark.parametrize(
    ("added", "resolution", "groups"),
    [
        ([], 0.0, []),
        ([(1.0, 1)], 0.0, [(1.0, 1)]),
        ([(1.0, 1), (1.0, 2)], 0.0, [(1.0, 3)]),
        ([(1.0, 1), (1.5, 1)], 0.0, [(1.0, 1), (1.5, 1)]),
        ([(1.0, 1), (1.5, 1)], 0.5, [(1.5, 2)]),
        ([(1.0, 1), (1.25, 1), (1.5, 1), (1.75, 1)], 0.5, [(1.5, 3), (1.75, 1)]),
        ([(2.0, 1), (1.0, 1)], 0.0, [(1.0, 1), (2.0, 1)]),
        ([(3.0, 1), (1.0, 1), (2.0, 5)], 0.0, [(1.0, 1), (2.0, 5), (3.0, 1)]),
        ([(1.0, 1), (1.5, 1), (1.25, 1)], 0.5, [(1.5, 3)]),
        ([(1.0, 1), (3.0, 1), (1.25, 1)], 0.5, [(1.25, 2), (3.0, 1)]),
        ([(1.0, 2), (-math.inf, 1)], 0.5, [(-math.inf, 1), (1.0, 2)]),
    ],
)
def test_groups(added: list[tuple[float, int]], resolution: float, groups: list[tuple[float, int]]) -> None:
    times = filled(added, resolution)
    assert content(times) == groups
    assert len(times) == sum(count for _, count in groups)


def test_a_new_resolution_applies_to_later_requests() -> None:
    times = filled([(1.0, 1), (1.5, 1)])
    times.resolution = 1.0
    times.add(2.0)
    times.add(2.5)
    assert content(times) == [(1.0, 1), (2.5, 3)]


def test_without_requests() -> None:
    times = Times(5)
    assert len(times) == times.count_after(-math.inf) == times.count_between(-math.inf, math.inf) == 0
    assert times.first_after(-math.inf) == math.inf
    assert times.drop_until(math.inf) == []
    times.drop_last(3)
    assert content(times) == []


def test_clear_forgets_all_requests() -> None:
    times = filled([(1.0, 2), (2.0, 1)])
    times.clear()
    assert len(times) == 0
    assert content(times) == []
    times.add(0.5)
    assert content(times) == [(0.5, 1)]


@pytest.mark.parametrize(
    ("count", "left"),
    [
        (-1, [(1.0, 3), (2.0, 2)]),
        (0, [(1.0, 3), (2.0, 2)]),
        (1, [(1.0, 3), (2.0, 1)]),
        (2, [(1.0, 3)]),
        (4, [(1.0, 1)]),
        (99, []),
    ],
)
def test_the_last_requests_are_removed(count: int, left: list[tuple[float, int]]) -> None:
    times = filled([(1.0, 3), (2.0, 2)])
    times.drop_last(count)
    assert content(times) == left
    assert len(times) == sum(number for _, number in left)


@pytest.mark.parametrize(
    ("most", "left"),
    [(6, [(1.0, 3), (2.0, 2), (3.0, 1)]), (5, [(2.0, 2), (3.0, 1)]), (2, [(3.0, 1)]), (0, [(3.0, 1)])],
)
def test_the_oldest_requests_are_forgotten(most: int, left: list[tuple[float, int]]) -> None:
    assert content(filled([(1.0, 3), (2.0, 2), (3.0, 1)], most=most)) == left


def test_one_group_may_be_larger_than_the_maximum() -> None:
    times = filled([(1.0, 3), (2.0, 50)], most=10)
    assert content(times) == [(2.0, 50)]
    assert len(times) == 50


# --- the same as a sorted list, if each time is a group ---


@settings(max_examples=80, derandomize=True)
@given(added=additions, at=grid, until=grid)
def test_without_a_resolution_all_answers_are_exact(added: list[tuple[float, int]], at: float, until: float) -> None:
    times, reference = filled(added), plain(added)
    assert len(times) == len(reference)
    assert [at for at, count in content(times) for _ in range(count)] == reference
    assert times.count_after(at) == sum(one > at for one in reference)
    if until >= at:
        assert times.count_between(at, until) == sum(at < one <= until for one in reference)
    assert times.first_after(at) == min((one for one in reference if one > at), default=math.inf)
    if reference:
        assert times.first == reference[0]


@settings(max_examples=60, derandomize=True)
@given(added=additions, at=grid)
def test_dropping_old_requests_leaves_the_others(added: list[tuple[float, int]], at: float) -> None:
    times, reference = filled(added), plain(added)
    dropped = times.drop_until(at)
    assert [when for when, count in dropped for _ in range(count)] == [one for one in reference if one <= at]
    assert [when for when, count in content(times) for _ in range(count)] == [one for one in reference if one > at]
    assert len(times) == sum(one > at for one in reference)
    assert times.drop_until(at) == []


@settings(max_examples=60, derandomize=True)
@given(added=additions, resolution=resolutions, count=st.integers(0, 80))
def test_dropping_the_last_requests_leaves_the_first_ones(
    added: list[tuple[float, int]], resolution: float, count: int
) -> None:
    times = filled(added, resolution)
    before = [at for at, number in content(times) for _ in range(number)]
    times.drop_last(count)
    assert [at for at, number in content(times) for _ in range(number)] == before[: max(0, len(before) - count)]


# --- with a resolution ---


@settings(max_examples=80, derandomize=True)
@given(added=additions, resolution=resolutions)
def test_no_request_is_counted_as_older_than_it_is(added: list[tuple[float, int]], resolution: float) -> None:
    times, reference = filled(added, resolution), plain(added)
    grouped = [at for at, count in content(times) for _ in range(count)]
    assert len(grouped) == len(times) == len(reference)
    assert all(group >= exact for group, exact in zip(grouped, reference, strict=True))
    for at in {*reference, 0.0, 30.0}:
        assert times.count_after(at) >= sum(one > at for one in reference)


@settings(max_examples=80, derandomize=True)
@given(added=in_order, resolution=resolutions)
def test_no_request_is_counted_as_younger_by_more_than_the_resolution(
    added: list[tuple[float, int]], resolution: float
) -> None:
    times, reference = filled(added, resolution), plain(added)
    grouped = [at for at, count in content(times) for _ in range(count)]
    assert all(group - exact <= resolution for group, exact in zip(grouped, reference, strict=True))


@settings(max_examples=80, derandomize=True)
@given(added=additions, resolution=resolutions)
def test_groups_are_in_ascending_order(added: list[tuple[float, int]], resolution: float) -> None:
    times = filled(added, resolution)
    ends = [at for at, _ in content(times)]
    assert ends == sorted(set(ends))
    assert all(count > 0 for _, count in content(times))


@settings(max_examples=40, derandomize=True)
@given(added=in_order, resolution=st.sampled_from([0.5, 1.0, 5.0]))
def test_the_number_of_groups_depends_on_the_time_and_not_on_the_requests(
    added: list[tuple[float, int]], resolution: float
) -> None:
    assert len(content(filled(added, resolution))) <= 25 / resolution + 1


@settings(max_examples=60, derandomize=True)
@given(added=additions, resolution=resolutions, most=st.integers(1, 30))
def test_no_more_requests_are_stored_than_allowed_but_for_one_group(
    added: list[tuple[float, int]], resolution: float, most: int
) -> None:
    times = Times(most, resolution)
    for at, count in added:
        times.add(at, count)
        assert len(times) <= most or len(content(times)) == 1
        assert len(times) == sum(number for _, number in content(times))


@settings(max_examples=60, derandomize=True)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("add"), grid, st.integers(1, 4)),
            st.tuples(st.just("drop_until"), grid, st.just(0)),
            st.tuples(st.just("drop_last"), st.just(0.0), st.integers(0, 6)),
        ),
        max_size=40,
    )
)
def test_all_methods_together_do_what_a_list_does(steps: list[tuple[str, float, int]]) -> None:
    times = Times(MANY)
    reference: list[float] = []
    for step, at, count in steps:
        if step == "add":
            times.add(at, count)
            for _ in range(count):
                insort(reference, at)
        elif step == "drop_until":
            times.drop_until(at)
            reference = [one for one in reference if one > at]
        else:
            times.drop_last(count)
            reference = reference[: max(0, len(reference) - count)]
        assert [at for at, number in content(times) for _ in range(number)] == reference
        assert len(times) == len(reference)


# --- the state ---


@settings(max_examples=60, derandomize=True)
@given(added=additions, resolution=resolutions, more=additions, at=grid)
def test_what_is_loaded_does_what_was_dumped(
    added: list[tuple[float, int]], resolution: float, more: list[tuple[float, int]], at: float
) -> None:
    times = filled(added, resolution, most=40)
    loaded = Times(40)
    loaded.add(99.0)
    loaded.load(times.dump())
    for one in (times, loaded):
        for when, count in more:
            one.add(when, count)
    assert content(loaded) == content(times)
    assert len(loaded) == len(times)
    assert loaded.drop_until(at) == times.drop_until(at)
    assert loaded.dump() == times.dump()


def test_the_state_is_flat() -> None:
    times = filled([(1.0, 1), (1.25, 2), (3.0, 1)], 0.5)
    assert times.dump() == [0.5, 1.0, 0.25, 3, 3.0, 0.0, 1]
