"""The pages, date filters and answers of all lists of the API.

Choices where the documentation is silent:

- A request with an invalid page or filter parameter gets a 400 with the body `{"success": false, "message": ...}`.
- Unknown parameters are ignored.
- A page after the last page is empty.
- An empty list has 0 pages.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import TypeVar

import attrs

from .._answers import Answer, JsonObject, JsonValue, Rejected, plain_failure, to_json

T = TypeVar("T")

_NUMBER = re.compile(r"[0-9]{1,18}")
_DATE_FILTER = re.compile(r"filter\[date_(created_at|updated_at)\]\[(eq|gte|lte)\]")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_DEFAULT_PAGE_SIZE = 20
_MAX_PAGE_SIZE = 250


@attrs.frozen
class Page:
    """The requested part of a list."""

    number: int
    size: int

    def of(self, found: Sequence[T], to_object: Callable[[T], JsonObject]) -> Answer:
        """Return the answer with this page of the list `found`."""
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
        number=_positive(parameters, "page[number]", default=1, maximum=None),
        size=_positive(parameters, "page[size]", default=_DEFAULT_PAGE_SIZE, maximum=_MAX_PAGE_SIZE),
    )


def read_dates(parameters: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Return the field (`created_at` or `updated_at`), relation (`eq`, `gte` or `lte`) and day of each date filter."""
    return [
        (match[1], match[2], _day(name, value))
        for name, value in parameters.items()
        if (match := _DATE_FILTER.fullmatch(name))
    ]


def read_boolean(parameters: Mapping[str, str], name: str) -> bool:
    """Read a parameter that is `true` or `false`. The default is false."""
    value = parameters.get(name, "false")
    if value not in ("true", "false"):
        raise Rejected(plain_failure(400, f"{name} must be true or false"))
    return value == "true"


def _positive(parameters: Mapping[str, str], name: str, *, default: int, maximum: int | None) -> int:
    value = parameters.get(name)
    if value is None:
        return default
    if _NUMBER.fullmatch(value) and int(value) >= 1 and (maximum is None or int(value) <= maximum):
        return int(value)
    bounds = "of at least 1" if maximum is None else f"between 1 and {maximum}"
    raise Rejected(plain_failure(400, f"{name} must be an integer {bounds}"))


def _day(name: str, value: str) -> str:
    try:
        if _DATE.fullmatch(value):
            date.fromisoformat(value)
            return value
    except ValueError:
        pass
    raise Rejected(plain_failure(400, f"{name} must be a date such as 2021-04-25"))
