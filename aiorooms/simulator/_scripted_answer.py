"""An answer that a test writes itself, for `RoomsSimulator.script`."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence

import attrs

from ._answers import JSON_TYPE, Answer, JsonValue

TEXT_TYPE = "text/plain; charset=utf-8"
BINARY_TYPE = "application/octet-stream"

_MIN_STATUS = 200
_MAX_STATUS = 599
_WITHOUT_BODY = (204, 304)
_FRAMING = frozenset({"content-length", "transfer-encoding"})
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")


def _pairs(headers: Mapping[str, str] | Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    pairs: list[tuple[str, str]] = []
    given: Iterable[object] = headers.items() if isinstance(headers, Mapping) else headers
    for pair in given:
        match pair:
            case (str(name), str(value)):
                pairs.append((name, value))
            case _:
                raise TypeError(f"headers must be strings by name, or pairs of two strings, not {pair!r}")
    return tuple(pairs)


def _check_status(_instance: object, _attribute: "attrs.Attribute[int]", value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"status must be a whole number, not {value!r}")
    if not _MIN_STATUS <= value <= _MAX_STATUS:
        # A client waits for a further answer after a 1xx, so a 1xx alone is no answer.
        raise ValueError(f"status must be from {_MIN_STATUS} to {_MAX_STATUS}, not {value}")


def _check_headers(_instance: object, _attribute: object, headers: Sequence[tuple[str, str]]) -> None:
    for name, value in headers:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a header")
        if name.lower() in _FRAMING:
            raise ValueError(f"the simulator itself sends {name}; for a wrong length, script the fault 'truncated'")
        if not _VALUE.fullmatch(value):
            raise ValueError(f"the header {name} contains characters that HTTP does not allow: {value!r}")


def _check_applied(_instance: object, _attribute: object, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"applied must be a bool, not {value!r}")


@attrs.frozen
class ScriptedAnswer:
    """An answer of your own for the next request, as an entry of `RoomsSimulator.script`.

        sim.script(ScriptedAnswer(422, {"errors": [{"code": "10015", "title": "Malformed request"}]}))
        sim.script(ScriptedAnswer(503, "try later", {"Retry-After": "3"}, applied=True))

    Values are checked when the object is created: a wrong type raises TypeError, an invalid value ValueError.
    """

    status: int = attrs.field(default=200, validator=_check_status)
    """Status of the answer, 200 to 599."""
    body: "JsonValue | bytes" = None
    """Body of the answer: bytes or text as they are, any other value as JSON. None means no body.

    Text is sent in UTF-8. A 204 and a 304 can't have a body. For the JSON value `null`, give `b"null"`.
    """
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), converter=_pairs, validator=_check_headers)
    """Headers, given by name or as pairs of name and value, which can repeat a name.

    They replace the headers of the simulator that have the same name, such as those of the rate limit. `Connection:
    close` also closes the connection. Without a `Content-Type`, JSON is sent as JSON, text as plain text, and bytes as
    `application/octet-stream`.
    """
    applied: bool = attrs.field(default=False, kw_only=True, validator=_check_applied)
    """Whether the request is carried out before the answer is sent."""
    _data: bytes = attrs.field(init=False, eq=False, repr=False)
    """The body as it is sent."""

    def __attrs_post_init__(self) -> None:
        data = _encoded(self.body)
        if data and self.status in _WITHOUT_BODY:
            raise ValueError(f"a {self.status} can't have a body; give None")
        object.__setattr__(self, "_data", data)

    def to_answer(self) -> Answer:
        """Return the answer to send."""
        has_type = any(name.lower() == "content-type" for name, _ in self.headers)
        return Answer(
            self.status,
            self._data,
            None if self.body is None or has_type else _content_type(self.body),
            tuple(pair for pair in self.headers if not _says_close(*pair)),
            close=any(_says_close(*pair) for pair in self.headers),
        )


def _encoded(body: "JsonValue | bytes") -> bytes:
    match body:
        case None:
            return b""
        case bytes():
            return body
        case str():
            return body.encode()
        case _:
            return json.dumps(body, allow_nan=False, separators=(",", ":")).encode("ascii")


def _content_type(body: "JsonValue | bytes") -> str:
    match body:
        case bytes():
            return BINARY_TYPE
        case str():
            return TEXT_TYPE
        case _:
            return JSON_TYPE


def _says_close(name: str, value: str) -> bool:
    return name.lower() == "connection" and value.strip().lower() == "close"
