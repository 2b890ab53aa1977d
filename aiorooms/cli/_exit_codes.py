"""The exit codes, as `aiorooms --help` lists them."""

from typing import Final

__all__ = ["BAD_INPUT", "CHANGES", "FAILED", "INTERRUPTED", "OK", "UNAUTHORIZED"]

OK: Final = 0
FAILED: Final = 1
BAD_INPUT: Final = 2
UNAUTHORIZED: Final = 3
INTERRUPTED: Final = 130

CHANGES: Final = 2
"""Of `aiorooms plan --detailed-exitcode`: there is something to change. Every error ends with `FAILED` there."""
