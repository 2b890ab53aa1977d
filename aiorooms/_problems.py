"""The details of errors: the problems of a request or of a bulk input, and the error objects of an answer.

The module `errors` re-exports all of these classes.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs

__all__ = ["ErrorDetail", "InputCode", "InputProblem", "Problem", "ProblemCode"]

ProblemCode: TypeAlias = Literal[
    "wrong_type",
    "not_nullable",
    "out_of_range",
    "blank",
    "not_unicode",
    "not_a_uuid",
    "unknown_field",
    "nothing_to_change",
    "conflicting_arguments",
    "not_absolute",
    "too_long",
    "bad_characters",
    "bad_scheme",
    "bad_credentials",
    "bad_host",
    "bad_port",
    "bad_path",
    "fragment",
    "ambiguous_url",
    "private_host",
    "denied_host",
    "same_url",
]
"""The kind of a `Problem`, for programs that write their own messages."""


@attrs.frozen
class Problem:
    """One problem of an invalid request. The request was not sent."""

    pointer: str
    """A JSON pointer (RFC 6901) to the field, such as `/webhook_event_url`; empty if the whole request is invalid."""
    message: str
    """The value that was given, what is wrong with it and what would be valid, in terms of the Python API."""
    code: ProblemCode = attrs.field(default="wrong_type", kw_only=True)
    """The kind of problem."""
    value: object = attrs.field(default=None, kw_only=True, eq=False, repr=False)
    """The value that was given; None for a URL, because a URL may contain a password."""
    limits: tuple[int, int] | None = attrs.field(default=None, kw_only=True)
    """The lowest and the highest value, both inclusive, for `out_of_range`."""
    expected: str | None = attrs.field(default=None, kw_only=True)
    """A description of valid values, such as `a whole number`; set for `wrong_type` and `not_nullable`."""
    nullable: bool = attrs.field(default=False, kw_only=True)
    """Whether None would be valid too."""
    setting: str | None = attrs.field(default=None, kw_only=True)
    """The `WebhookUrlPolicy` setting that rejects the URL, such as `allow_credentials=False`; None for other problems.
    The message ends with the setting, in parentheses."""

    @property
    def field(self) -> str | None:
        """The name of the invalid field; None if the whole request is invalid."""
        return self.pointer[1:].replace("~1", "/").replace("~0", "~") or None

    def __str__(self) -> str:
        return f"{self.pointer[1:]}: {self.message}" if self.pointer else self.message


InputCode: TypeAlias = Literal[
    "unreadable",
    "unwritable",
    "unknown_format",
    "bad_encoding",
    "bad_syntax",
    "bad_cell",
    "missing_extra",
    "empty",
    "unknown_column",
    "duplicate_column",
    "missing_column",
    "missing_room",
    "duplicate_room",
    "duplicate_name",
    "name_taken",
    "name_chain",
    "name_swap",
    "not_a_name",
    "room_not_found",
    "host_not_found",
    "room_modified",
    "room_unreadable",
    "bad_condition",
    "bad_edit",
    "bad_rewrite",
    "one_room_only",
    "probe_failed",
    "more_problems",
]
"""The kind of an `InputProblem`. A problem of a field's value has a `ProblemCode` instead."""


@attrs.frozen
class InputProblem:
    """One problem of the input of a bulk run."""

    file: str
    """The name of the file, as the caller gave it. For a selection, the argument (such as `where`) or the room."""
    line: int | None
    """The line on which the row begins, counted from 1; None if the problem is not in a row."""
    field: str | None
    """The column or key of the invalid value; None if the problem is not in a single value."""
    message: str
    """The value that was given, what is wrong with it and what would be valid."""
    code: "ProblemCode | InputCode | None" = attrs.field(default=None, kw_only=True)
    """The kind of problem; None if this kind has no code."""
    value: object = attrs.field(default=None, kw_only=True, eq=False, repr=False)
    """The value that was given; None for a URL, because a URL may contain a password."""
    limits: tuple[int, int] | None = attrs.field(default=None, kw_only=True)
    """The lowest and the highest value, both inclusive, for `out_of_range`."""
    expected: str | None = attrs.field(default=None, kw_only=True)
    """A description of valid values, such as `a whole number`."""
    nullable: bool = attrs.field(default=False, kw_only=True)
    """Whether null would be valid too."""

    def __str__(self) -> str:
        line = "" if self.line is None else f", line {self.line:,}"
        field = "" if self.field is None else f", {self.field}"
        return f"{self.file}{line}{field}: {self.message}"


@attrs.frozen
class ErrorDetail:
    """One of the error objects in an answer of the server."""

    code: str | None = None
    """Telnyx's error code, such as `10005`."""
    title: str | None = None
    detail: str | None = None
    pointer: str | None = None
    """A JSON pointer to the invalid field of the request body."""
    parameter: str | None = None
    """The invalid query parameter."""
    meta: Mapping[str, object] | None = None

    def __str__(self) -> str:
        text = self.detail or self.title or "no detail given"
        code = f"{self.code}: " if self.code else ""
        where = self.pointer or self.parameter
        return f"{code}{text} at {where}" if where else f"{code}{text}"
