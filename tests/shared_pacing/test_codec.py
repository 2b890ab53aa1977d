"""The state of gates: after any history, what is loaded is what was dumped, attribute by attribute."""

import json
import re
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiorooms._pacing import NO_INFO, Permit, RateLimitInfo
from aiorooms._pacing.gate import Gate, Known
from aiorooms._pacing.headers import Report as Limit
from aiorooms._pacing.meter import Meter
from aiorooms._pacing.needs import Needs
from aiorooms._pacing.pause import Pause
from aiorooms._pacing.probing import Probing
from aiorooms._pacing.quota import Quota
from aiorooms._pacing.renewals import Anchor, Renewals
from aiorooms._pacing.scope import Scope
from aiorooms._pacing.shared import codec
from aiorooms._pacing.shared.account import LAYOUT
from aiorooms._pacing.sharing import Sharing
from aiorooms._pacing.slow_start import SlowStart
from aiorooms._pacing.times import Times

from .clients import LIST, UPDATE

SETTINGS: Final = {"_random", "_meter", "_is_common", "_max_in_flight", "_careful_from", "quotas"}
"""Attributes that are not part of the state. A copy on purpose: a new one must be added here too."""

PARTS: Final = (Needs, Pause, Renewals, Sharing)


def half() -> float:
    return 0.5


def new_quota() -> Quota:
    return Quota(half, Needs(), is_common=True)


def new_scope() -> Scope:
    return Scope(half, waits=True, is_common=True)


def new_probing() -> Probing:
    return Probing(Meter(), half, is_common=True)


def new_slow_start() -> SlowStart:
    return SlowStart(64, careful_from=8)


NEW: Final[dict[str, Callable[[], object]]] = {
    "quota": new_quota,
    "scope": new_scope,
    "probing": new_probing,
    "slow start": new_slow_start,
    "pause": Pause,
    "meter": Meter,
}


def attributes(part: object) -> dict[str, Any]:
    """Return the attributes of a part and its parts. This knows nothing of the codec."""
    found: dict[str, Any] = {}
    for name, value in vars(part).items():
        if isinstance(value, Times):
            found[name] = [len(value), *value.dump()]
        elif name not in SETTINGS:
            found[name] = attributes(value) if isinstance(value, PARTS) else value
    return found


def is_alike(one: Any, other: Any) -> bool:
    """Return whether two values are the same, and their times to a microsecond."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return bool(one == other) or abs(one - other) < 2e-6
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(is_alike, one, other))  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(one, dict):
        return is_alike([*one.items()], [*other.items()])  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    return bool(one == other)


def assert_alike(part: object, other: object) -> None:
    """Check that two parts have the same attributes."""
    first, second = attributes(part), attributes(other)
    assert {name for name in first if not is_alike(first[name], second.get(name))} == set()


def written(part: object) -> Any:
    """Return the state of a part after it was in the store."""
    return json.loads(json.dumps(codec.dump(part)))


def loaded(part: object, new: Callable[[], object]) -> Any:
    """Return a new part with the state of another one."""
    other = new()
    codec.load(other, written(part))
    return other


# --- histories ---

steps = st.lists(
    st.tuples(
        st.sampled_from(["sent", "accepted", "limited", "lost", "asked", "unreported", "many"]),
        st.integers(0, 4000).map(lambda number: number / 1000),  # seconds that pass before
        st.integers(0, 20),  # what remains, how many requests, or how many are in flight
        st.sampled_from([None, 0.0, 0.3, 1.0, 5.25]),  # the reset or the wait
    ),
    max_size=30,
)


def info_of(event: str, remaining: int, reset: float | None) -> RateLimitInfo:
    """Return what an answer says. Every third one reports nothing."""
    limited = event == "limited"
    if remaining % 3 == 0:
        return RateLimitInfo(limited, reset if limited else None)
    report = Limit(20, 0 if limited else remaining, reset, exact=reset not in (0.0, 1.0), name="ab"[remaining % 2])
    return RateLimitInfo(limited, reset if limited and remaining % 2 else None, (report,))


def live(gate: Gate, history: list[tuple[str, float, int, float | None]]) -> float:
    """Let a gate go through a history. Return the time at its end."""
    now, flying = 10.0, [Permit(10.0, UPDATE)]
    for event, seconds, number, reset in history:
        now += seconds
        if event in ("sent", "many"):
            permit = Permit(now, UPDATE if number % 2 else LIST)
            gate.sent(permit, number)
            flying.append(permit)
        elif event == "lost":
            gate.lost(flying[-1], now, number)
        elif event == "asked":
            gate.may_send_at(now, number)
        else:
            gate.answered(flying[-1], info_of(event, number, reset), now, number)
    return now


@settings(max_examples=40, derandomize=True)
@given(history=steps)
def test_a_quota(history: list[tuple[str, float, int, float | None]]) -> None:
    quota, now = new_quota(), 10.0
    sent: list[tuple[float, Known]] = [(10.0, Known())]
    for event, seconds, number, reset in history:
        now += seconds
        match event:
            case "sent" | "many":
                sent.append((now, quota.sent(now, is_single=number % 2 == 0, count=number + 1)))
            case "accepted" | "limited":
                at, known = sent[-1]
                report = Limit(20, number, reset, exact=reset not in (0.0, 1.0))
                quota.answered(at, known, report, now, number, rate_limited=event == "limited")
            case "lost":
                quota.lost(now, now, number)
                quota.sharing.unsent(number)
            case "asked":
                quota.may_send_at(now, number)
                quota.kept_until(now, number)
            case _:
                quota.unreported(now, number)
        other = loaded(quota, new_quota)
        assert_alike(other, quota)
    other = loaded(quota, new_quota)
    assert other.may_send_at(now, 3) == pytest.approx(quota.may_send_at(now, 3), abs=1e-4)
    assert other.room(now, 3, is_bulk=True) == quota.room(now, 3, is_bulk=True)


@settings(max_examples=40, derandomize=True)
@given(history=steps)
def test_a_scope(history: list[tuple[str, float, int, float | None]]) -> None:
    scope, now = new_scope(), 10.0
    for event, seconds, number, reset in history:
        now += seconds
        permit = Permit(now - 0.01, UPDATE)
        match event:
            case "sent" | "many":
                scope.sent(permit, is_single=number % 2 == 0, count=number + 1)
            case "accepted" | "limited":
                scope.answered(permit, info_of(event, number, reset), now, number)
                scope.pause.answered(permit, info_of(event, number, reset), now, number)
            case "lost":
                scope.lost(permit, now, number)
            case "asked":
                scope.may_send_at(now, number)
            case _:
                scope.counted(now)
        other = loaded(scope, new_scope)
        assert_alike(other, scope)
        assert other.quotas == {}, "the account stores the quotas by itself"
        for quota in scope.quotas.values():
            assert_alike(loaded(quota, new_quota), quota)


@pytest.mark.parametrize("name", ["probing", "slow start", "pause"])
@settings(max_examples=40, derandomize=True)
@given(history=steps)
def test_a_gate(name: str, history: list[tuple[str, float, int, float | None]]) -> None:
    for length in range(len(history) + 1):
        gate = NEW[name]()
        assert isinstance(gate, Gate)
        now = live(gate, history[:length])
        other = loaded(gate, NEW[name])
        assert_alike(other, gate)
        assert other.is_idle == gate.is_idle
        assert other.rate == pytest.approx(gate.rate, abs=1e-5)
        assert other.blocked_until(now) == pytest.approx(gate.blocked_until(now), abs=1e-5)


@settings(max_examples=40, derandomize=True)
@given(counts=st.lists(st.tuples(st.floats(0, 5), st.integers(1, 50)), max_size=20))
def test_a_meter(counts: list[tuple[float, int]]) -> None:
    meter, now = Meter(), 10.0
    for seconds, count in counts:
        now += seconds
        meter.sent(now, count)
        other = loaded(meter, Meter)
        assert_alike(other, meter)
        assert other.recent(now) == pytest.approx(meter.recent(now), abs=1e-5)


def test_a_gate_that_has_seen_every_kind_of_answer() -> None:
    probing = new_probing()
    for number in range(300):
        info = RateLimitInfo(number % 7 == 0, None, (Limit(20, number % 5, 1.5, name=f"{number}"),))
        probing.answered(Permit(number / 10, f"GET /{number}"), info, number / 10, number % 3)
    assert len(probing._reported) > 100
    other = loaded(probing, new_probing)
    assert other._reported == probing._reported
    assert_alike(other, probing)


def test_a_limit_of_which_an_earlier_answer_is_remembered() -> None:
    quota = new_quota()
    known = quota.sent(0.0, is_single=True)
    quota.answered(0.0, known, Limit(20, 19, 1.5, exact=True), 0.01, 0, rate_limited=False)
    quota.sharing.renewals._anchor = Anchor(0.5, 1.5, 19)
    other = loaded(quota, new_quota)
    assert other.sharing.renewals._anchor == Anchor(0.5, 1.5, 19)
    assert isinstance(other.sharing.renewals._anchor, Anchor)


def test_the_example_of_the_module() -> None:
    pause = Pause()
    pause.answered(Permit(0.0), RateLimitInfo(True, 10.25), 100.0, 0)
    assert codec.dump(pause) == [110.25, False]


def test_times_are_written_in_microseconds() -> None:
    pause = Pause()
    pause.ends_at = 1 / 3
    assert codec.dump(pause) == [0.333333, True]


# --- damaged states ---


def dumped(name: str) -> list[Any]:
    """Return the state of a part that has seen something."""
    part = NEW[name]()
    if isinstance(part, Gate):
        for number in range(5):
            live(part, [("sent", 0.1, 3, None), ("accepted", 0.1, number, 1.5), ("limited", 0.1, number, 5.25)])
    elif isinstance(part, Quota):
        known = part.sent(0.0, is_single=True, count=3)
        part.answered(0.0, known, Limit(20, 19, 1.5, exact=True), 0.01, 0, rate_limited=False)
        part.answered(0.5, known, Limit(20, 18, 1.0, exact=True), 0.51, 0, rate_limited=False)
        part.lost(0.0, 0.2, 0)
    state = written(part)
    assert isinstance(state, list)
    return state  # pyright: ignore[reportUnknownVariableType]


def paths(values: list[Any]) -> list[tuple[int, ...]]:
    """Return the position of each value of a state, and of each value in it."""
    found: list[tuple[int, ...]] = []
    for number, value in enumerate(values):
        found.append((number,))
        if isinstance(value, list):
            found += [(number, *rest) for rest in paths(value)]  # pyright: ignore[reportUnknownArgumentType]
    return found


junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.floats(allow_infinity=False),
    st.text(max_size=3),
    st.lists(st.none() | st.integers() | st.text(max_size=2), min_size=1, max_size=4),
    st.lists(st.lists(st.integers(), min_size=1, max_size=3), min_size=1, max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), min_size=1, max_size=2),
)


@pytest.mark.parametrize("name", NEW)
@settings(max_examples=40, derandomize=True)
@given(data=st.data())
def test_a_damaged_value_raises_nothing_but_the_documented_errors(name: str, data: st.DataObject) -> None:
    state = dumped(name)
    *outer, last = data.draw(st.sampled_from(paths(state)))
    target = state
    for number in outer:
        target = target[number]
    target[last] = data.draw(junk)
    try:
        codec.load(NEW[name](), state)
    except (ValueError, TypeError, LookupError) as error:
        assert str(error)


@pytest.mark.parametrize("name", NEW)
def test_a_state_of_another_length_is_an_error(name: str) -> None:
    state = dumped(name)
    for damaged in ([], state[:-1], [*state, 0], [state], state * 2):
        with pytest.raises((ValueError, TypeError)):
            codec.load(NEW[name](), damaged)


@pytest.mark.parametrize("values", [[0.5, 1.0], [0.5, 1.0, 0.0], [0.5, 1.0, 0.0, "x"], [0.5, None, 0.0, 1], 5, None])
def test_damaged_times_are_an_error(values: Any) -> None:
    part = new_quota()
    state = written(part)
    sharing = [*vars(part)].index("sharing")
    times = [name for name in vars(part.sharing) if name not in SETTINGS].index("_accepted")
    state[sharing][times] = values
    if isinstance(values, list) and len(values) == 3:  # pyright: ignore[reportUnknownArgumentType]
        state[sharing][times] = values[:2]
    with pytest.raises((ValueError, TypeError)):
        codec.load(new_quota(), state)


# --- the layout ---


class Part:
    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


def test_the_layout_is_a_short_text() -> None:
    assert re.fullmatch(r"[0-9a-f]{8}", codec.layout([Pause(), Meter()]))
    assert LAYOUT.endswith(
        codec.layout((Pause(), Meter(), new_probing(), new_slow_start(), new_scope(), Quota(half, Needs())))
    )


@pytest.mark.parametrize(
    "other",
    [
        Part(first=1),
        Part(first=1, second=2, third=3),
        Part(first=1, other=2),
        Part(second=2, first=1),
        Part(),
    ],
)
def test_the_layout_differs_if_attributes_differ(other: Part) -> None:
    assert codec.layout([other]) != codec.layout([Part(first=1, second=2)])


def test_the_layout_differs_if_attributes_of_a_nested_part_differ() -> None:
    changed = Pause()
    changed.__dict__["more"] = 1
    assert codec.layout([Part(pause=changed)]) != codec.layout([Part(pause=Pause())])


def test_the_layout_differs_if_the_parts_differ() -> None:
    layouts = {codec.layout(parts) for parts in ([], [Pause()], [Meter()], [Pause(), Meter()], [Meter(), Pause()])}
    assert len(layouts) == 5


def test_the_layout_does_not_depend_on_values_and_settings() -> None:
    one, other = Part(first=1, _random=half), Part(first="x", quotas={})
    assert codec.layout([one]) == codec.layout([other])
    pause = Pause()
    pause.answered(Permit(0.0), RateLimitInfo(True, 5.0), 1.0, 0)
    assert codec.layout([pause]) == codec.layout([Pause()])


@pytest.mark.parametrize("name", NEW)
def test_the_state_has_a_value_for_each_attribute(name: str) -> None:
    part = NEW[name]()
    assert len(codec.dump(part)) == len(attributes(part))
    if isinstance(part, Gate):
        part.answered(Permit(1.0), NO_INFO, 1.0, 0)
        assert len(codec.dump(part)) == len(attributes(part))
