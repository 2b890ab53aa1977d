"""The exit codes, as `aiorooms --help` tells them."""

from typing import Final

__all__ = ["BAD_INPUT", "FAILED", "INTERRUPTED", "OK", "SLIP", "UNAUTHORIZED"]

OK: Final = 0
FAILED: Final = 1
BAD_INPUT: Final = 2
UNAUTHORIZED: Final = 3
INTERRUPTED: Final = 130

SLIP: Final = "aiorooms.slip"
"""Where a command notes in click's context that a slip on its command line ends with another code than `BAD_INPUT`."""
