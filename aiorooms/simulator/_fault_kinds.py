"""All kinds of faults: name, effect, description, and whether the request is carried out.

With an *applied* fault, the simulator carries out the request, and its answer is then lost, damaged or unusual. With a
*not applied* fault, the simulator never carries out the request. A client often can't distinguish the two cases, and
must handle both.

A correct client copes with most faults: it accepts an unusual answer, or sends the request again. *Odd* faults can
mislead even a correct client. It may wait for a rate limit that does not exist (`429`), give up (`redirect`), or accept
a wrong answer (`wrong_room`, `surplus`). Odd faults are not in `ALL`, which is the default of `Faults.kinds`.

`ALL`, `ODD`, `APPLIED`, `NOT_APPLIED` and the help of `aiorooms simulate` are generated from `_KINDS`. To add a kind,
add it to `_KINDS`, add its effect to `_fault_effects`, and add its name to `FaultKind`. `FaultKind` repeats the names
because type checkers need a literal. A test compares `FaultKind` with `_KINDS`.
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
    "429_bare",
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
    description: str
    """What the client receives."""
    applied: bool
    """Whether the request is carried out before the fault."""
    odd: bool
    """Whether the fault can mislead even a correct client. Odd faults are not in `ALL`."""


def _before(name: FaultKind, effect: Effect, description: str, *, odd: bool = False) -> Kind:
    return Kind(name, effect, description, applied=False, odd=odd)


def _after(name: FaultKind, effect: Effect, description: str, *, odd: bool = False) -> Kind:
    return Kind(name, effect, description, applied=True, odd=odd)


_KINDS = (
    _before("reset_before", effects.reset, "connection reset (RST)"),
    _before("close_before", effects.close, "connection closed (FIN) without an answer"),
    _before("stall_before", effects.stall, "no answer for a long time, then a close"),
    _before("408", answers(effects.request_timeout), "408 with an errors list (10008), then a close"),
    _before(
        "429",
        proxy_page_with_retry_after(429),
        "HTML 429 page of a gateway, with `Retry-After` if `Faults.retry_after` is set"
        "; the headers report the rate limit as usual, if there is one",
        odd=True,
    ),
    _before("429_bare", answers(effects.bare_429), "HTML 429 page of a gateway without rate limit headers", odd=True),
    _before("500", answers(effects.server_error), "500 with an errors list (10007)"),
    _before("502", proxy_page(502), "HTML error page of a proxy"),
    _before(
        "503",
        proxy_page_with_retry_after(503),
        "HTML error page of a proxy, with `Retry-After` if `Faults.retry_after` is set",
    ),
    _before("504", proxy_page(504), "HTML error page of a proxy"),
    _before("520", proxy_page(520), "HTML error page of a proxy"),
    _before("bad_http", effects.bad_http, "bytes that are not HTTP (a TLS alert), then a close"),
    _before(
        "redirect",
        answers(effects.redirect),
        "307 to `/elsewhere`, which does not exist on the server",
        odd=True,
    ),
    _after("reset_after", effects.reset, "connection reset (RST)"),
    _after("close_after", effects.close, "connection closed (FIN) without an answer"),
    _after("stall_after", effects.stall, "no answer for a long time, then a close"),
    _after("500_after", answers(effects.server_error), "500 with an errors list (10007)"),
    _after("502_after", proxy_page(502), "HTML error page of a proxy"),
    _after(
        "503_after",
        proxy_page_with_retry_after(503),
        "HTML error page of a proxy, with `Retry-After` if `Faults.retry_after` is set",
    ),
    _after("504_after", proxy_page(504), "HTML error page of a proxy"),
    _after("524_after", proxy_page(524), "HTML error page of a proxy"),
    _after("truncated", writes(effects.truncated), "complete head, half of the body, then a close"),
    _after(
        "truncated_chunked",
        writes(effects.truncated_chunked),
        "half of the body, chunked, without the last chunk, then a close",
    ),
    _after("cut_head", writes(effects.cut_head), "half of the head, then a close"),
    _after("garbage", answers(effects.garbage), "random bytes with the content type of JSON"),
    _after("html_200", answers(effects.html), "200 with an HTML page"),
    _after("empty_200", answers(effects.empty), "200 without a body"),
    _after("wrong_type", answers(effects.wrong_type), "valid JSON with one field of the wrong type"),
    _after("cut_json", answers(effects.cut_json), "complete HTTP answer with half of the JSON"),
    _after("error_200", answers(effects.error_with_200), "200 with an errors list"),
    _after("bad_gzip", answers(effects.bad_gzip), "uncompressed body with `Content-Encoding: gzip`"),
    _after("long_header", answers(effects.long_header), "correct answer with a header field of 20,000 characters"),
    _after("mislabeled", answers(effects.mislabeled), "correct answer with the content type `text/plain`"),
    _after("until_close", writes(effects.until_close), "correct answer without a length, ended by a close"),
    _after("early_hints", writes(effects.early_hints, stays_open=True), "correct answer after a 103"),
    _after("slow", effects.slow, "correct answer, sent slowly in small pieces"),
    _after("stale", effects.stale, "correct answer; the next request on the connection gets only a close"),
    _after("wrong_room", answers(effects.wrong_room), "answer for another room", odd=True),
    _after("surplus", writes(effects.surplus, stays_open=True), "correct answer, then a second one", odd=True),
)

KINDS: Mapping[FaultKind, Kind] = {kind.name: kind for kind in _KINDS}
"""All kinds of faults, by name."""

ODD: tuple[FaultKind, ...] = tuple(kind.name for kind in _KINDS if kind.odd)
"""The faults that can mislead even a correct client, such as the answer for another room. They are not in `ALL`."""
ALL: tuple[FaultKind, ...] = tuple(kind.name for kind in _KINDS if not kind.odd)
"""The faults that a correct client copes with: it accepts the unusual answer, or sends the request again."""
NOT_APPLIED: frozenset[FaultKind] = frozenset(kind.name for kind in _KINDS if not kind.applied)
"""The faults whose request is never carried out."""
APPLIED: frozenset[FaultKind] = frozenset(kind.name for kind in _KINDS if kind.applied)
"""The faults whose request is carried out. The answer is then lost, damaged or unusual."""


def fault_descriptions(*, applied: bool) -> dict[FaultKind, str]:
    """Return a description of each fault in `ALL` whose request is carried out, or is not if `applied` is false."""
    return {kind.name: kind.description for kind in _KINDS if kind.applied == applied and not kind.odd}
