"""What is wrong with a file."""

from typing import Final, NoReturn

from ...errors import BulkInputError, InputProblem

__all__ = ["Problems"]

_MOST_PROBLEMS: Final = 1000


class Problems:
    """What is wrong with a file: the first of it, and how much there is."""

    def __init__(self, file: str) -> None:
        self.count: int = 0
        self._file = file
        self._kept: list[InputProblem] = []

    def add(self, line: int | None, field: str | None, message: str) -> None:
        """Keep a problem."""
        self.count += 1
        if len(self._kept) < _MOST_PROBLEMS:
            self._kept.append(InputProblem(self._file, line, field, message))

    def refuse(self) -> None:
        """Raise `BulkInputError` if anything is wrong."""
        if more := self.count - len(self._kept):
            self._kept.append(InputProblem(self._file, None, None, f"there are {more:,} problems more"))
        if self._kept:
            raise BulkInputError(self._kept)

    def fail(self, line: int | None, message: str) -> NoReturn:
        """Give up reading."""
        self.add(line, None, message)
        self.refuse()
        raise AssertionError
