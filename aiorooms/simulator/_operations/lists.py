"""What the lists of the API share: pages, filters by date, and the shape of the answer.

Where the documentation is silent, this was chosen: a bad page or filter parameter of a list is a 400 in the shape
`{"success": false, "message": ...}`; unknown parameters are ignored. A page after the last is empty. A list without
any item has 0 pages.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import TypeVar

import attrs

from .._answers import Answer, JsonObject, JsonValue, Rejected, plain_failure, to_json

T = TypeVar("T")

_NUMBER = re.compile(r"[0-9]{1,9}")
_DATE_FILTER = re.compile(r"filter\[date_(created_at|updated_at)\]\[(eq|gte|lte)\]")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_DEFAULT_PAGE_SIZE = 20
_MAX_PAGE_SIZE = 250


@attrs.frozen
class Page:
    """Which part of a list is asked for."""

    number: int
    size: int

    def of(self, found: Sequence[T], to_object: Callable[[T], JsonObject]) -> Answer:
        """Return the answer with this page of a list."""
        shown = found[(self.number - 1) * self.size : self.number * self.size]
        data: list[JsonValue] = [to_object(item) for item in shown]
        meta: JsonObject = {
            "total_pages": -(-len(found) // self.size),
            "total_results": len(found),
            "page_number": self.number,
            "page_size": self.size,
        }
        return Answer(200, to_json({"data": data, "meta": meta}))


def read_page(parameters: Mapping[str, str]) -> Page:
    """Read `page[number]` and `page[size]`."""
    return Page(
        number=_positive(parameters, "page[number]", default=1, most=None),
        size=_positive(parameters, "page[size]", default=_DEFAULT_PAGE_SIZE, most=_MAX_PAGE_SIZE),
    )


def read_dates(parameters: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Read the filters by date as (`created_at` or `updated_at`, `eq`, `gte` or `lte`, YYYY-MM-DD)."""
    return [
        (match[1], match[2], _day(name, value))
        for name, value in parameters.items()
        if (match := _DATE_FILTER.fullmatch(name))
    ]


def read_boolean(parameters: Mapping[str, str], name: str) -> bool:
    """Read a parameter that is `true` or `false`; false if it is missing."""
    value = parameters.get(name, "false")
    if value not in ("true", "false"):
        raise Rejected(plain_failure(400, f"{name} must be true or false"))
    return value == "true"


def _positive(parameters: Mapping[str, str], name: str, *, default: int, most: int | None) -> int:
    value = parameters.get(name)
    if value is None:
        return default
    if _NUMBER.fullmatch(value) and int(value) >= 1 and (most is None or int(value) <= most):
        return int(value)
    bounds = "of at least 1" if most is None else f"between 1 and {most}"
    raise Rejected(plain_failure(400, f"{name} must be an integer {bounds}"))


def _day(name: str, value: str) -> str:
    try:
        if _DATE.fullmatch(value):
            date.fromisoformat(value)
            return value
    except ValueError:
        pass
    raise Rejected(plain_failure(400, f"{name} must be a date such as 2021-04-25"))
