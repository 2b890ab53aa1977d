"""Collect the problems of an input. The first 1,000 are kept, and the others are only counted."""

from typing import Final, NoReturn

from .._checks import text_message
from ..errors import BulkInputError, InputCode, InputProblem, InvalidRequestError, Problem
from ..models import Room

__all__ = ["Problems", "input_problem", "room_error"]

_MAX_PROBLEMS: Final = 1000


class Problems:
    """The problems of one input."""

    def __init__(self, source: str) -> None:
        self.count: int = 0
        self.source = source
        self._kept: list[InputProblem] = []

    def add(self, *problems: InputProblem) -> None:
        """Add problems."""
        for problem in problems:
            self.count += 1
            if self.count <= _MAX_PROBLEMS:
                self._kept.append(problem)

    def record(self, code: InputCode, line: int | None, field: str | None, message: str, value: object = None) -> None:
        """Record a problem. `line` is None if the problem concerns the whole input."""
        self.add(InputProblem(self.source, line, field, message, code=code, value=value))

    def fail(self, code: InputCode, line: int | None, message: str) -> NoReturn:
        """Record a problem that makes the rest of the input unreadable, and raise `BulkInputError`."""
        self.record(code, line, None, message)
        self.raise_if_any()
        raise AssertionError

    def raise_if_any(self) -> None:
        """Raise `BulkInputError` if there are problems. The error lists them in the order of their lines."""
        if not self.count:
            return
        problems = sorted(self._kept, key=lambda problem: problem.line or 0)
        if more := self.count - len(problems):
            text = f"{more:,} more problems are not shown"
            problems.append(InputProblem(self.source, None, None, text, code="more_problems", value=more))
        raise BulkInputError(problems)


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
