"""The exit codes, as `aiorooms --help` lists them."""

from typing import Final

__all__ = ["CHANGES", "FAILED", "INTERRUPTED", "INVALID_INPUT", "OK", "UNAUTHORIZED"]

OK: Final = 0
FAILED: Final = 1
INVALID_INPUT: Final = 2
UNAUTHORIZED: Final = 3
INTERRUPTED: Final = 130

CHANGES: Final = 2
"""Of `aiorooms plan --detailed-exitcode`: there is something to change. Every error ends with `FAILED` there."""
