"""What errors list: the problems of a request or of a bulk input, and the error objects of an answer.

`errors` exports them all.
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
"""What kind of mistake a `Problem` is, for programs that word problems themselves."""


@attrs.frozen
class Problem:
    """One thing that is wrong with a request that was not sent."""

    pointer: str
    """A JSON pointer (RFC 6901) to the field, such as `/webhook_event_url`; empty for the whole request."""
    message: str
    """What is wrong, what was given, and what would be right, in Python's words."""
    code: ProblemCode = attrs.field(default="wrong_type", kw_only=True)
    value: object = attrs.field(default=None, kw_only=True, eq=False, repr=False)
    """What was given; None for a URL, which may hold a password."""
    limits: tuple[int, int] | None = attrs.field(default=None, kw_only=True)
    """The lowest and the highest value, both inclusive, for `out_of_range`."""
    expected: str | None = attrs.field(default=None, kw_only=True)
    """What is wanted, such as `a whole number`, for `wrong_type` and `not_nullable`."""
    nullable: bool = attrs.field(default=False, kw_only=True)
    """Whether None is accepted too."""
    setting: str | None = attrs.field(default=None, kw_only=True)
    """The setting of a `WebhookUrlPolicy` that rejects a URL, such as `allow_credentials=False`; `message` ends with
    it in parentheses."""

    @property
    def field(self) -> str | None:
        """The name of the field; None for the whole request."""
        return self.pointer[1:].replace("~1", "/").replace("~0", "~") or None

    def __str__(self) -> str:
        return f"{self.pointer[1:]}: {self.message}" if self.pointer else self.message


InputCode: TypeAlias = Literal[
    "unreadable",
    "unwritable",
    "unknown_format",
    "bad_encoding",
    "bad_syntax",
    "empty",
    "unknown_column",
    "duplicate_column",
    "missing_column",
    "missing_room",
    "duplicate_room",
    "duplicate_name",
    "room_not_found",
    "bad_condition",
    "bad_edit",
    "bad_rewrite",
    "one_room_only",
    "more_problems",
]
"""What kind of mistake an `InputProblem` is, where it is not a mistake of a value (`ProblemCode`)."""


@attrs.frozen
class InputProblem:
    """One thing that is wrong with an input of a bulk run."""

    file: str
    """The name of the file as it was given; for a selection, the argument (`where`, `set_fields`) or the room."""
    line: int | None
    """The line on which the row begins, from 1; None for the whole file."""
    field: str | None
    """The column or key; None for the whole row."""
    message: str
    """What is wrong, what was given, and what would be right."""
    code: "ProblemCode | InputCode | None" = attrs.field(default=None, kw_only=True)
    """What kind of mistake it is; None if nobody said."""
    value: object = attrs.field(default=None, kw_only=True, eq=False, repr=False)
    """What was given, as in `Problem`."""
    limits: tuple[int, int] | None = attrs.field(default=None, kw_only=True)
    """The lowest and the highest value, both inclusive, for `out_of_range`."""
    expected: str | None = attrs.field(default=None, kw_only=True)
    """What is wanted, such as `a whole number`."""
    nullable: bool = attrs.field(default=False, kw_only=True)
    """Whether null is accepted too."""

    def __str__(self) -> str:
        line = "" if self.line is None else f", line {self.line:,}"
        field = "" if self.field is None else f", {self.field}"
        return f"{self.file}{line}{field}: {self.message}"


@attrs.frozen
class ErrorDetail:
    """One error object of an answer: what the server says is wrong."""

    code: str | None = None
    """Telnyx's error code, such as `10005`."""
    title: str | None = None
    detail: str | None = None
    pointer: str | None = None
    """A JSON pointer to the field of the body that is wrong."""
    parameter: str | None = None
    """The query parameter that is wrong."""
    meta: Mapping[str, object] | None = None

    def __str__(self) -> str:
        text = self.detail or self.title or "no detail given"
        code = f"{self.code}: " if self.code else ""
        where = self.pointer or self.parameter
        return f"{code}{text} at {where}" if where else f"{code}{text}"
