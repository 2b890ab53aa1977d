"""The registry of the kinds of faults: name, when it strikes, what it does.

A fault is either *not applied* (the request changes nothing) or *applied* (the request is carried out as ever, and
only the answer is lost or spoilt). To a client the two often look the same, which is the point.

Most faults go away, or do no harm, when the request is sent again. The *odd* ones do not: a client can't be expected
to get through them, only not to be fooled. So they are not in `ALL`, and break a request only if they are named.

Everything that knows kinds of faults is made from `KINDS`: `ALL`, `ODD`, `APPLIED` and `NOT_APPLIED`, the draw, the
help of `aiorooms simulate`, the tests. To add a kind, add its name to `FaultKind` (a type checker needs it as a
literal; a test holds the two lists equal), a row to `KINDS`, and its effect to `_fault_effects`.
"""

from collections.abc import Mapping
from typing import Literal

import attrs

from . import _fault_effects as effects
from ._fault_effects import Effect, answers, proxy_page, proxy_page_with_retry_after, writes

FaultKind = Literal[
    "reset_before",
    "close_before",
    "stall_before",
    "408",
    "429",
    "500",
    "502",
    "503",
    "504",
    "520",
    "bad_http",
    "redirect",
    "reset_after",
    "close_after",
    "stall_after",
    "500_after",
    "502_after",
    "503_after",
    "504_after",
    "524_after",
    "truncated",
    "truncated_chunked",
    "cut_head",
    "garbage",
    "html_200",
    "empty_200",
    "wrong_type",
    "cut_json",
    "error_200",
    "bad_gzip",
    "long_header",
    "mislabeled",
    "until_close",
    "early_hints",
    "slow",
    "stale",
    "wrong_room",
    "surplus",
]


@attrs.frozen
class Kind:
    """One kind of fault."""

    name: FaultKind
    effect: Effect
    seen: str
    """What the client sees."""
    applied: bool
    """Whether the request is carried out before the fault strikes."""
    odd: bool
    """Whether sending the request again does not help, or the answer is hard to tell from the truth."""


def _before(name: FaultKind, effect: Effect, seen: str, *, odd: bool = False) -> Kind:
    return Kind(name, effect, seen, applied=False, odd=odd)


def _after(name: FaultKind, effect: Effect, seen: str, *, odd: bool = False) -> Kind:
    return Kind(name, effect, seen, applied=True, odd=odd)


_KINDS = (
    _before("reset_before", effects.reset, "a reset of the connection (RST)"),
    _before("close_before", effects.close, "a close of the connection (FIN) without an answer"),
    _before("stall_before", effects.stall, "nothing for a long time, then a close"),
    _before("408", answers(effects.request_timeout), "408 with an errors list (10008), then a close"),
    _before(
        "429",
        proxy_page_with_retry_after(429),
        "the HTML 429 of a gateway, without `x-ratelimit-*` of its own; `Retry-After` if it is set",
        odd=True,
    ),
    _before("500", answers(effects.server_error), "500 with an errors list (10007)"),
    _before("502", proxy_page(502), "the HTML page of a proxy"),
    _before("503", proxy_page_with_retry_after(503), "the HTML page of a proxy, with `Retry-After` if it is set"),
    _before("504", proxy_page(504), "the HTML page of a proxy"),
    _before("520", proxy_page(520), "the HTML page of a proxy"),
    _before("bad_http", effects.bad_http, "bytes that are not HTTP (a TLS alert), then a close"),
    _before(
        "redirect",
        answers(effects.redirect),
        "307 to `/elsewhere` on the same server, which does not exist",
        odd=True,
    ),
    _after("reset_after", effects.reset, "a reset of the connection (RST)"),
    _after("close_after", effects.close, "a close of the connection (FIN) without an answer"),
    _after("stall_after", effects.stall, "nothing for a long time, then a close"),
    _after("500_after", answers(effects.server_error), "500 with an errors list (10007)"),
    _after("502_after", proxy_page(502), "the HTML page of a proxy"),
    _after("503_after", proxy_page_with_retry_after(503), "the HTML page of a proxy, with `Retry-After` if it is set"),
    _after("504_after", proxy_page(504), "the HTML page of a proxy"),
    _after("524_after", proxy_page(524), "the HTML page of a proxy"),
    _after("truncated", writes(effects.truncated), "the whole head, half of the body, then a close"),
    _after("truncated_chunked", writes(effects.truncated_chunked), "half of the body, chunked, no last chunk"),
    _after("cut_head", writes(effects.cut_head), "half of the head, then a close"),
    _after("garbage", answers(effects.garbage), "random bytes as the body, labelled as JSON"),
    _after("html_200", answers(effects.html), "200 with an HTML page"),
    _after("empty_200", answers(effects.empty), "200 without a body"),
    _after("wrong_type", answers(effects.wrong_type), "well-formed JSON, one field of the wrong type"),
    _after("cut_json", answers(effects.cut_json), "well-formed HTTP around half of the JSON"),
    _after("error_200", answers(effects.error_with_200), "200 around an errors list"),
    _after("bad_gzip", answers(effects.bad_gzip), "`Content-Encoding: gzip` on a body that is not"),
    _after("long_header", answers(effects.long_header), "the right answer, a header field of 20,000 characters"),
    _after("mislabeled", answers(effects.mislabeled), "the right answer, labelled `text/plain`"),
    _after("until_close", writes(effects.until_close), "the right answer without a length, ended by a close"),
    _after("early_hints", writes(effects.early_hints, stays_open=True), "the right answer after a 103"),
    _after("slow", effects.slow, "the right answer, slowly, in small pieces"),
    _after("stale", effects.stale, "the right answer; the next request on the connection is dropped unread"),
    _after("wrong_room", answers(effects.wrong_room), "the answer for some other room", odd=True),
    _after("surplus", writes(effects.surplus, stays_open=True), "the right answer, and one more behind it", odd=True),
)

KINDS: Mapping[FaultKind, Kind] = {kind.name: kind for kind in _KINDS}
"""All kinds by name."""

ODD: tuple[FaultKind, ...] = tuple(kind.name for kind in _KINDS if kind.odd)
"""Faults that sending again does not help against, or that are hard to tell from the truth; not in `ALL`."""
ALL: tuple[FaultKind, ...] = tuple(kind.name for kind in _KINDS if not kind.odd)
"""Every fault that a good client gets through by sending again."""
NOT_APPLIED: frozenset[FaultKind] = frozenset(kind.name for kind in _KINDS if not kind.applied)
"""Faults that come before the request is carried out: it changes nothing."""
APPLIED: frozenset[FaultKind] = frozenset(kind.name for kind in _KINDS if kind.applied)
"""Faults that come after the request was carried out: only the answer suffers."""


def fault_descriptions(*, applied: bool) -> dict[FaultKind, str]:
    """Return what the client sees of each kind in `ALL`, for those that come after or before the request is applied."""
    return {kind.name: kind.seen for kind in _KINDS if kind.applied == applied and not kind.odd}
