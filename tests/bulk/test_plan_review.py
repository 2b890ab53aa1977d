"""The review of a plan: changes by field and host, and what a rollback could not bring back."""

import tracemalloc
from collections.abc import Iterator
from typing import Any, TypeAlias
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorooms import WebhookUrlPolicy
from aiorooms.bulk import PlannedUpdate
from aiorooms.bulk._changes import ValueChange
from aiorooms.bulk._plan_review import review_of
from aiorooms.models._fields import Values

Value: TypeAlias = str | int | bool | None

URL = "webhook_event_url"
FAILOVER = "webhook_event_failover_url"


def room(number: int, before: Values, after: Values) -> PlannedUpdate:
    return PlannedUpdate(room_id=str(UUID(int=number)), unique_name=None, updated_at=None, before=before, after=after)


def rooms(*changes: tuple[Values, Values]) -> Iterator[PlannedUpdate]:
    for number, (before, after) in enumerate(changes):
        yield room(number, before, after)


def changes_of(before: Value, after: Value, name: str = URL) -> list[ValueChange]:
    (field,) = review_of(rooms(({name: before}, {name: after}))).fields
    assert (field.name, field.rooms, field.other) == (name, 1, 1 - len(field.changes))
    return [*field.changes]


def test_the_example_of_the_module() -> None:
    old, new = "https://old.example.com", "https://new.example.com"
    review = review_of(
        rooms(
            ({URL: f"{old}/a"}, {URL: f"{new}/a"}),
            ({URL: f"{old}/b", "max_participants": 10}, {URL: f"{new}/b", "max_participants": 20}),
            ({URL: f"{old}/c"}, {URL: f"{new}/x"}),
            ({URL: None}, {URL: f"{new}/d"}),
        )
    )
    participants, url = review.fields
    assert (participants.name, participants.changes) == ("max_participants", (ValueChange(10, 20, 1),))
    hosts = (ValueChange("old.example.com", "new.example.com", 3), ValueChange(None, "new.example.com", 1))
    assert (url.name, url.rooms, url.changes, url.other) == (URL, 4, hosts, 0)
    (lost,) = review.not_restorable
    assert (lost.field, lost.rooms, lost.example) == (URL, 1, str(UUID(int=3)))
    assert (review.rooms, review.rooms_not_restorable) == (4, 1)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://a.example.com/x?y=1", "a.example.com"),
        ("https://a.example.com:8443/x", "a.example.com:8443"),
        ("https://user:secret@a.example.com/x", "a.example.com"),
        ("https://user:secret@a.example.com:1/#x", "a.example.com:1"),
        ("https://[::1]:80/", "[::1]:80"),
        ("https://[::1", "(no host)"),
        ("hooks/secret", "(no host)"),
        ("", None),
        (None, None),
    ],
)
def test_a_url_is_counted_by_its_host_and_its_password_is_not_kept(url: str | None, host: str | None) -> None:
    assert changes_of(url, "https://new.example.com/") == [ValueChange(host, "new.example.com", 1)]


@pytest.mark.parametrize(
    ("name", "before", "after", "expected"),
    [
        ("max_participants", 10, 20, [ValueChange(10, 20, 1)]),
        ("enable_recording", False, True, [ValueChange(False, True, 1)]),
        ("webhook_timeout_secs", None, 5, [ValueChange(None, 5, 1)]),
        (FAILOVER, "https://a.example.com/x", None, [ValueChange("a.example.com", None, 1)]),
        ("unique_name", "a", "b", []),
    ],
)
def test_values_of_other_fields_are_counted_but_not_names(
    name: str, before: Value, after: Value, expected: list[ValueChange]
) -> None:
    assert changes_of(before, after, name) == expected


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ({URL: None}, "webhook_event_url had no value, and the API can't clear it"),
        ({URL: ""}, "webhook_event_url had no value, and the API can't clear it"),
        ({"unique_name": None}, "unique_name had no value, and the API can't clear it"),
        ({"max_participants": 99}, "the old max_participants would be rejected: 99 is not in the range 2 to 50"),
        ({"max_participants": None}, "max_participants had no value, and the API can't clear it"),
        ({URL: "example.com/x"}, "the old webhook_event_url would be rejected: "),
        ({URL: "https://user:secret@a.example.com/"}, "the old webhook_event_url would be rejected: "),
        ({URL: "https://other.example.com/"}, "the old webhook_event_url would be rejected: "),
        ({URL: "https://a.example.com/", FAILOVER: "https://a.example.com/"}, "would be rejected: "),
        ({FAILOVER: None}, None),
        ({FAILOVER: ""}, None),
        ({"webhook_timeout_secs": None}, None),
        ({"enable_recording": False}, None),
        ({URL: "https://a.example.com/"}, None),
    ],
)
def test_what_a_rollback_could_not_bring_back(before: dict[str, Any], reason: str | None) -> None:
    policy = WebhookUrlPolicy(allowed_hosts=["a.example.com"])
    after: Values = dict.fromkeys(before, "https://a.example.com/new")
    review = review_of([room(7, before, after)], policy)
    assert [lost.rooms for lost in review.not_restorable] == [1] * (reason is not None)
    for lost in review.not_restorable:
        assert reason is not None
        assert reason in lost.reason
        assert "secret" not in lost.reason
        assert lost.example == str(UUID(int=7))


def test_a_room_with_two_reasons_is_counted_once() -> None:
    review = review_of([room(0, {URL: None, "max_participants": 99}, {URL: "https://a.io/", "max_participants": 5})])
    assert review.rooms_not_restorable == 1


def test_a_million_different_hosts_need_little_memory() -> None:
    def many(count: int) -> Iterator[PlannedUpdate]:
        for number in range(count):
            yield room(number, {URL: f"https://h{number}.example.com/"}, {URL: f"https://n{number}.example.com/"})

    review_of(many(10))  # imports and caches
    tracemalloc.start()
    try:
        (field,) = review_of(many(6000)).fields
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (field.rooms, len(field.changes), field.other) == (6000, 1000, 5000)
    assert peak < 4_000_000


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30))
def test_the_changes_add_up_and_the_most_frequent_comes_first(pairs: list[tuple[int, int]]) -> None:
    updates = [room(n, {"max_participants": a}, {"max_participants": b}) for n, (a, b) in enumerate(pairs)]
    review = review_of(updates)
    assert review.rooms == len(pairs)
    for field in review.fields:
        counts = [change.rooms for change in field.changes]
        assert sum(counts) == field.rooms == len(pairs)
        assert counts == sorted(counts, reverse=True)
        assert {(change.before, change.after) for change in field.changes} == set(pairs)
