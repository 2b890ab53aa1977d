"""The exit codes that `aiorooms --help` lists."""

from typing import Final

__all__ = ["CHANGES", "FAILED", "INTERRUPTED", "INVALID_INPUT", "OK", "RUNNING", "UNAUTHORIZED"]

OK: Final = 0
FAILED: Final = 1
INVALID_INPUT: Final = 2
UNAUTHORIZED: Final = 3
INTERRUPTED: Final = 130

CHANGES: Final = 2
"""The exit code of `aiorooms plan --detailed-exitcode` if the plan has changes.

With this option, errors exit with `FAILED`.
"""

RUNNING: Final = 4
"""The exit code of `aiorooms status` if the run is still in progress."""
