"""The headers that report rate limits, in the styles of different gateways.

The styles are described in `RateLimit.style`. Example: the limits are 10 per second and 1000 per hour, and one request
was sent. With the style `ietf-policy`, its answer has the headers

    ratelimit: "10-in-1s";r=9;t=1, "1000-in-3600s";r=999;t=3600
    ratelimit-policy: "10-in-1s";q=10;w=1, "1000-in-3600s";q=1000;w=3600
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from email.utils import formatdate
from typing import TypeAlias

from ._limiters import PERIODS, RateLimit, Style, Verdict

State: TypeAlias = tuple[RateLimit, Verdict]
"""A rule, and what its limiter decided."""


def limit_headers(states: Sequence[State], wall_time: float) -> list[tuple[str, str]]:
    """Return the header fields that report these limits. `wall_time` is the current Unix time."""
    fields: list[tuple[str, str]] = []
    for style in _styles(states):
        fields += _STYLES[style]([state for state in states if state[0].headers and state[0].style == style], wall_time)
    limited = [state for state in states if not state[1].allowed]
    if limited:
        wait = max(verdict.retry for _, verdict in limited)
        how = next((rule.retry_after for rule, _ in limited if rule.retry_after != "none"), "none")
        fields += _retry_after(how, wait, wall_time)
    return fields


def _styles(states: Sequence[State]) -> Iterable[Style]:
    if len(states) == 1:
        rule = states[0][0]
        return (rule.style,) if rule.headers else ()
    return dict.fromkeys(rule.style for rule, _ in states if rule.headers)


def _x_ratelimit(states: Sequence[State], wall_time: float) -> Iterator[tuple[str, str]]:
    yield "x-ratelimit-limit", _listed([rule.limit for rule, _ in states])
    yield "x-ratelimit-remaining", _listed([verdict.remaining for _, verdict in states])
    resets = [_reset(state, wall_time) for state in states if state[0].reset != "none"]
    if len(resets) == len(states):
        yield "x-ratelimit-reset", _listed(resets)


def _ietf_fields(states: Sequence[State], wall_time: float) -> Iterator[tuple[str, str]]:
    yield from _tightest_fields(states, wall_time)
    yield "ratelimit-policy", _policies(states)


def _ietf_dictionary(states: Sequence[State], wall_time: float) -> Iterator[tuple[str, str]]:
    rule, verdict = state = _tightest(states)
    reset = "" if rule.reset == "none" else f", reset={_reset(state, wall_time)}"
    yield "ratelimit", f"limit={rule.limit}, remaining={verdict.remaining}{reset}"
    yield "ratelimit-policy", _policies(states)


def _ietf_policy(states: Sequence[State], wall_time: float) -> Iterator[tuple[str, str]]:
    limits: list[str] = []
    policies: list[str] = []
    for state in states:
        rule, verdict = state
        name = f'"{rule.limit}-in-{rule.window:g}s"'
        reset = "" if rule.reset == "none" else f";t={_reset(state, wall_time)}"
        limits.append(f"{name};r={verdict.remaining}{reset}")
        policies.append(f"{name};q={rule.limit}{_window(rule)}")
    yield "ratelimit", _listed(limits)
    yield "ratelimit-policy", _listed(policies)


def _kong(states: Sequence[State], wall_time: float) -> Iterator[tuple[str, str]]:
    for rule, verdict in states:
        period = next(name for name, seconds in PERIODS.items() if seconds == rule.window)
        yield f"x-ratelimit-limit-{period}", str(rule.limit)
        yield f"x-ratelimit-remaining-{period}", str(verdict.remaining)
    if _tightest(states)[0].reset != "none":
        yield from _tightest_fields(states, wall_time)


_STYLES = {
    "x-ratelimit": _x_ratelimit,
    "ietf-fields": _ietf_fields,
    "ietf-dictionary": _ietf_dictionary,
    "ietf-policy": _ietf_policy,
    "kong": _kong,
}


def _tightest_fields(states: Sequence[State], wall_time: float) -> Iterator[tuple[str, str]]:
    rule, verdict = state = _tightest(states)
    yield "ratelimit-limit", str(rule.limit)
    yield "ratelimit-remaining", str(verdict.remaining)
    if rule.reset != "none":
        yield "ratelimit-reset", _reset(state, wall_time)


def _tightest(states: Sequence[State]) -> State:
    """Return the limit with the fewest remaining requests; of several, the one that allows the next request last."""
    return min(states, key=lambda state: (state[1].remaining, -state[1].retry))


def _policies(states: Sequence[State]) -> str:
    return _listed([f"{rule.limit}{_window(rule)}" for rule, _ in states])


def _window(rule: RateLimit) -> str:
    """Return the window as a parameter. The drafts only allow whole seconds."""
    return f";w={rule.window:.0f}" if float(rule.window).is_integer() else ""


def _reset(state: State, wall_time: float) -> str:
    """Return the reset of a limit in the format of its rule."""
    rule, verdict = state
    # The wait is rounded first. Otherwise a floating-point error could be rounded up to a whole second.
    seconds = round(verdict.reset, 6)
    if rule.reset != "seconds":
        seconds += wall_time
    if rule.reset_rounding == "fractional":
        return f"{seconds:.6f}"
    whole = math.ceil(seconds) if rule.reset_rounding == "up" else math.floor(seconds)
    return formatdate(whole, usegmt=True) if rule.reset == "date" else str(whole)


def _retry_after(how: str, wait: float, wall_time: float) -> Iterator[tuple[str, str]]:
    seconds = round(wait, 6)
    if how == "seconds":
        yield "Retry-After", str(math.ceil(seconds))
    elif how == "date":
        yield "Retry-After", formatdate(math.ceil(wall_time + seconds), usegmt=True)
    elif how == "ms":
        yield "retry-after-ms", str(math.ceil(seconds * 1000))


def _listed(values: Sequence[object]) -> str:
    return str(values[0]) if len(values) == 1 else ", ".join(map(str, values))
