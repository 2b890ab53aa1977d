"""The top-level command `aiorooms`. It prints errors to standard error, and exits with the matching exit code."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import click

from .._version import __version__
from ..errors import (
    AioroomsError,
    AuthenticationError,
    BulkInputError,
    ClientSettingsError,
    InvalidRequestError,
    JournalError,
    PermissionDeniedError,
    PlanFileError,
)
from ._apply import apply, resume
from ._command import HELP_OPTIONS, InvalidInputError, SystemCallError
from ._completion import completion
from ._demo import demo
from ._distributed import journal, stop
from ._exit_codes import FAILED, INTERRUPTED, INVALID_INPUT, OK, UNAUTHORIZED
from ._export import export
from ._output import OutputLostError, configure_stdout, flush, output_lost
from ._plan import DETAILED, plan
from ._read import get, list_
from ._report import report
from ._rollback import rollback
from ._run import Interrupted, signals_interrupt
from ._show import show
from ._simulate import simulate
from ._status import status
from ._stderr import end_ctrl_c_line, print_error, print_problems, write_stderr
from ._update import update
from ._verify import verify
from ._webhooks import webhooks
from ._words import error_line, input_problems, usage_error_line
from ._worker import worker

__all__ = ["cli"]

_EPILOG: Final = """\
\b
Try it without an account:
  aiorooms demo

\b
Your own rooms:
  export TELNYX_API_KEY=KEY0123...
  aiorooms list
  aiorooms update ROOM_ID --max-participants 20
  aiorooms list | cut -f1 | aiorooms update - --enable-recording

\b
Change all rooms, with a plan to review and a rollback:
  aiorooms plan --rewrite-webhook-host old.example.com=new.example.com
  aiorooms apply rooms.plan
  aiorooms status rooms.plan.journal --watch
  aiorooms rollback rooms.plan.journal

\b
The same on several machines, through Redis:
  aiorooms worker --on redis://HOST:6379/0
  aiorooms apply rooms.plan --on redis://HOST:6379/0

\b
Environment:
  TELNYX_API_KEY   the API key; there is no option for it, because other users
                   of the machine can read a command's options
  TELNYX_BASE_URL  base URL of the API  [default: https://api.telnyx.com/v2]
  AIOROOMS_LOG     debug, info or warning: write log lines to standard error
  AIOROOMS_SHARED_PACING
                   Redis through which processes share the rate limit, such as
                   redis://HOST:6379/0
  AIOROOMS_STORE   URL of the Redis that `--on env` uses
  HTTPS_PROXY, HTTP_PROXY, NO_PROXY
                   the HTTP proxy, and the hosts that are reached without it
  NO_COLOR         if set, the output has no colour

\b
Exit codes:
  0    everything succeeded; with --limit, everything that was begun
  1    something failed, is uncertain or differs from the plan
  2    the input is invalid or the API key is missing; nothing was changed
  3    the server rejected the API key (401 or 403)
  4    the run is still in progress (`aiorooms status`)
  130  interrupted by Ctrl-C, SIGTERM or SIGHUP
"""


_INVALID_INPUT: Final = (InvalidRequestError, ClientSettingsError, PlanFileError, JournalError)


_INVALID_REASONS: Final = ("no_run", "run_exists", "run_in_progress", "unsafe_store", "missing_extra")
"""Reasons of a `DistributedRunError` that show that nothing was changed."""


class _Program(click.Group):
    """The command `aiorooms`. It prints expected errors to standard error, and exits with the matching exit code."""

    def main(self, args: Sequence[str] | None = None, *more: Any, standalone_mode: bool = True, **extra: Any) -> Any:  # noqa: ANN401 - click's own types
        """Run a command and exit with its code. Outside standalone mode, return the code."""
        configure_stdout()
        words = sys.argv[1:] if args is None else list(args)
        extra["standalone_mode"] = False
        is_detailed = words[:1] == ["plan"] and DETAILED in words
        code = _code_of(lambda: super(_Program, self).main(words, *more, **extra), is_detailed=is_detailed)
        if standalone_mode:
            sys.exit(code)
        return code

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the options of the group. Set `ctx.args` first, because an error message uses all arguments."""
        ctx.args = [*args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which they were added. click would sort them alphabetically."""
        return list(self.commands)


def _code_of(command: Callable[[], object], *, is_detailed: bool) -> int:
    try:
        with signals_interrupt():
            code = command()
            flush()
    except (Interrupted, click.Abort, KeyboardInterrupt) as stopped:
        _report_interrupt(stopped)
        return INTERRUPTED
    except Exception as error:
        code = _report(error)
        if code is None:
            raise
        # With `--detailed-exitcode`, exit code 2 means `CHANGES`, so errors need another exit code.
        return FAILED if is_detailed and code in (INVALID_INPUT, UNAUTHORIZED) else code
    return code if isinstance(code, int) else OK


def _report_interrupt(stopped: BaseException) -> None:
    line = stopped.line if isinstance(stopped, Interrupted) else "interrupted"
    if line:
        end_ctrl_c_line()
        print_error(line)


def _report(error: Exception) -> int | None:
    """Print an expected error and return its exit code. Return None for an exception that is a bug in aiorooms."""
    match error:
        case click.ClickException():
            print_error(usage_error_line(error))
            return INVALID_INPUT
        case InvalidInputError():
            print_problems(error.problems)
            return INVALID_INPUT
        case BulkInputError():
            print_problems(input_problems(error))
            for note in getattr(error, "__notes__", ()):
                print_error(note)
            return INVALID_INPUT
        case AuthenticationError() | PermissionDeniedError():
            print_error(error_line(error))
            return UNAUTHORIZED
        case AioroomsError():
            print_error(error_line(error))
            is_input = isinstance(error, _INVALID_INPUT) or error.reason in _INVALID_REASONS
            return INVALID_INPUT if is_input else FAILED
        case SystemCallError():
            print_error(str(error))
            return FAILED
        case OutputLostError() | OSError():
            # A bare OSError comes from click, which writes help texts directly. Our own writes raise OutputLostError.
            # For any other OSError, a command raises SystemCallError.
            output_error = output_lost(error) if isinstance(error, OSError) else error
            # It is not a failure if the reader closes the pipe early, as `head` does.
            if output_error.reader_closed:
                return OK
            print_error(str(output_error))
            return FAILED
        case _:
            return None


@click.group(
    cls=_Program,
    context_settings={"help_option_names": HELP_OPTIONS, "max_content_width": 90},
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    epilog=_EPILOG,
)
@click.version_option(__version__, prog_name="aiorooms", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> int:
    """Update Telnyx Video rooms, and report every outcome."""
    if ctx.invoked_subcommand is None:
        write_stderr(ctx.get_help() + "\n")
    return INVALID_INPUT


for command in (
    demo,
    update,
    get,
    list_,
    plan,
    show,
    apply,
    resume,
    status,
    verify,
    rollback,
    report,
    export,
    worker,
    stop,
    journal,
    webhooks,
    simulate,
    completion,
):
    cli.add_command(command)
