"""Collect the problems of an input. The first 1,000 are kept, and the others are only counted."""

from typing import Final, NoReturn

from .._checks import text_message
from ..errors import BulkInputError, InputCode, InputProblem, InvalidRequestError, Problem
from ..models import Room

__all__ = ["Problems", "input_problem", "room_error"]

_MAX_PROBLEMS: Final = 1000


class Problems:
    """The problems of one input."""

    def __init__(self, source: str, *, skip_rows: bool = False) -> None:
        """With `skip_rows`, the problems of single rows are kept apart, in `skipped`."""
        self.count: int = 0
        self.rows: int = 0
        """Number of rows and rooms with a problem that `add_of_row` has added."""
        self.bad_row: int | None = None
        """The line of the last row with a problem; None if the problem has no line."""
        self.source = source
        self.skipped: Problems | None = Problems(source) if skip_rows else None
        """The problems of rows that are left out; None if such a problem makes the whole input invalid."""
        self.kept: list[InputProblem] = []
        """The first problems, in the order in which they were added."""

    def add(self, *problems: InputProblem) -> None:
        """Add problems."""
        for problem in problems:
            self.count += 1
            if len(self.kept) < _MAX_PROBLEMS:
                self.kept.append(problem)

    def record(self, code: InputCode, line: int | None, field: str | None, message: str, value: object = None) -> None:
        """Record a problem. `line` is None if the problem concerns the whole input."""
        self.add(InputProblem(self.source, line, field, message, code=code, value=value))

    def add_of_row(self, *problems: InputProblem) -> None:
        """Add problems of a single row or room, which is left out if `skip_rows` was given.

        Problems with the same line are of one row. All problems without a line are of one room.
        """
        for number, problem in enumerate(problems):
            if number == 0 if problem.line is None else problem.line != self.bad_row:
                (self if self.skipped is None else self.skipped).rows += 1
            self.bad_row = problem.line
        (self if self.skipped is None else self.skipped).add(*problems)

    def add_left_out(self, others: "Problems") -> None:
        """Add the problems of rows that were left out when the input was read, as `add_of_row` does."""
        target = self if self.skipped is None else self.skipped
        target.kept += others.kept[: _MAX_PROBLEMS - len(target.kept)]
        target.count += others.count
        target.rows += others.rows

    def fail(self, code: InputCode, line: int | None, message: str) -> NoReturn:
        """Record a problem that makes the rest of the input unreadable, and raise `BulkInputError`."""
        self.record(code, line, None, message)
        self.raise_if_any()
        raise AssertionError

    def raise_if_any(self) -> None:
        """Raise `BulkInputError` if there are problems. The error lists them in the order of their lines."""
        if self.count:
            raise BulkInputError(self.listed())

    def listed(self) -> list[InputProblem]:
        """Return the problems in the order of their lines. The last one may say how many others there are."""
        problems = sorted(self.kept, key=lambda problem: problem.line or 0)
        if more := self.count - len(problems):
            text = f"{more:,} more problems are not shown"
            problems.append(InputProblem(self.source, None, None, text, code="more_problems", value=more))
        return problems


def input_problem(problem: Problem, file: str, line: int | None = None) -> InputProblem:
    """Convert the problem of a value to a problem of an input. The message uses the terms of JSON, not of Python."""
    return InputProblem(
        file,
        line,
        problem.field,
        text_message(problem),
        code=problem.code,
        value=problem.value,
        limits=problem.limits,
        expected=problem.expected,
        nullable=problem.nullable,
    )


def room_error(room: Room, error: InvalidRequestError) -> BulkInputError:
    """Return the error for a room whose update would be invalid."""
    return BulkInputError([input_problem(problem, f"room {room.id}") for problem in error.problems])
