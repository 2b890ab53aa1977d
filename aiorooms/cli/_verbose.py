"""Log lines on standard error: `-v` and `-vv`, and `AIOROOMS_LOG`. They are written above a progress bar."""

import logging

from ..errors import ClientSettingsError
from ..telemetry._log import level_in_environment, log_to_stderr
from ._escaping import escape
from ._stderr import write_above

__all__ = ["show_log_lines"]


class _AboveTheBar(logging.Handler):
    """Writes each record as one line."""

    def emit(self, record: logging.LogRecord) -> None:
        write_above(escape(self.format(record)))


def show_log_lines(verbose: int) -> bool:
    """Write log lines if `-v` was given `verbose` times, or if `AIOROOMS_LOG` is set. `-v` takes precedence.

    Return whether any lines are written.
    """
    try:
        level = level_in_environment()
    except ClientSettingsError:  # creating the client reports it
        level = None
    if verbose:
        level = logging.DEBUG if verbose > 1 else logging.INFO
    if level is not None:
        log_to_stderr(level, _AboveTheBar())
    return level is not None
