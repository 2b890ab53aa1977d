"""Say which lines of a journal are damaged, as `lines 4, 7 to 9 and 12 of the journal are damaged`."""

from collections.abc import Sequence
from typing import Final

__all__ = ["damage_of_journal"]

_MAX_RANGES: Final = 5


def damage_of_journal(numbers: Sequence[int]) -> str:
    """Return which lines are damaged. `numbers` are ascending and not empty."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][-1] == number - 1:
            ranges[-1][1:] = [number]
        else:
            ranges.append([number])
    parts = [" to ".join(f"{number:,}" for number in part) for part in ranges]
    if len(parts) > _MAX_RANGES:
        parts[_MAX_RANGES:] = ["others"]
    names = " and ".join((", ".join(parts[:-1]), parts[-1]) if len(parts) > 1 else parts)
    return (
        f"line {names} of the journal is damaged" if len(numbers) == 1 else f"lines {names} of the journal are damaged"
    )
