"""The command `aiorooms` itself: its help, and what becomes of every error: one line, and an exit code."""

import sys
from collections.abc import Callable
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
from ._demo import demo
from ._files import export, report
from ._options import BadInputError
from ._output import OutputLostError, complain, complain_of_all, end_echo, flush, lost, prepare
from ._plan import plan, show
from ._read import get, list_
from ._rollback import rollback, verify
from ._simulate import simulate
from ._status import BAD_INPUT, FAILED, INTERRUPTED, OK, SLIP, UNAUTHORIZED
from ._update import update

__all__ = ["cli"]

_EPILOG: Final = """\
\b
Try it, without an account:
  aiorooms demo

\b
Your own rooms:
  export TELNYX_API_KEY=KEY0123...
  aiorooms list
  aiorooms update ROOM_ID --max-participants 20
  aiorooms list | cut -f1 | aiorooms update - --enable-recording

\b
All of them, with a plan and a way back:
  aiorooms plan --rewrite-webhook-host old.example.com=new.example.com
  aiorooms apply rooms.plan

\b
Environment:
  TELNYX_API_KEY   the API key; there is no option for it, as other users of
                   the machine can read a command's options
  TELNYX_BASE_URL  where the API is, if not at https://api.telnyx.com/v2
  NO_COLOR         if set, nothing is in colour

\b
Exit codes:
  0    all done
  1    something failed, or its outcome is not known
  2    bad input (a missing key too), and nothing was sent
  3    the server refused the API key (401 or 403)
  130  interrupted by Ctrl-C or SIGTERM
"""


_WRONG_INPUT: Final = (InvalidRequestError, ClientSettingsError, PlanFileError, JournalError)


class _Program(click.Group):
    """Ends every error in one line on standard error and an exit code."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:  # noqa: ANN401 - click's own types
        """Run a command, and exit with its code, or give it if not in standalone mode."""
        prepare()
        extra["standalone_mode"] = False
        code = _guarded(lambda: super(_Program, self).main(*args, **extra))
        if standalone_mode:
            sys.exit(code)
        return code

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the commands in the order in which one needs them, not by name."""
        return list(self.commands)


def _guarded(run: Callable[[], object]) -> int:
    try:
        code = run()
        flush()
    except click.ClickException as error:
        return _complain_of_usage(error)
    except click.Abort:
        end_echo()  # the question stands on that line
        complain("interrupted")
        return INTERRUPTED
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except (BadInputError, BulkInputError) as error:
        complain_of_all(error.problems)
        return BAD_INPUT
    except AioroomsError as error:
        complain(str(error))
        if isinstance(error, (AuthenticationError, PermissionDeniedError)):
            return UNAUTHORIZED
        return BAD_INPUT if isinstance(error, _WRONG_INPUT) else FAILED
    except (OutputLostError, OSError) as error:
        # An OSError that gets here comes from click, which writes the help texts itself.
        if isinstance(error, OSError):
            error = lost(error)
        # A reader that has enough, as `head` has, is no failure.
        if error.unread:
            return OK
        complain(str(error))
        return FAILED
    return code if isinstance(code, int) else OK


def _complain_of_usage(error: click.ClickException) -> int:
    context = error.ctx if isinstance(error, click.UsageError) else None
    text = " ".join(error.format_message().split()).removesuffix(".").replace(". Did you", "; did you")
    text = text[:1].lower() + text[1:]
    if isinstance(error, click.NoSuchOption):
        text = _about_option(error.option_name, context) or text
    command = context.command_path if context is not None else "aiorooms"
    complain(f"{text} See `{command} --help`" if text.endswith("?") else f"{text}; see `{command} --help`")
    code: int = BAD_INPUT if context is None else context.meta.get(SLIP, BAD_INPUT)
    return code


def _about_option(name: str, context: click.Context | None) -> str | None:
    """Say what is behind an option that can't be there, if we know."""
    if name == "--api-key":
        return "the API key is read from TELNYX_API_KEY, as others on the machine can read a command's options"
    if context is not None and isinstance(context.command, click.Group):
        for command in context.command.commands.values():
            if any(name in parameter.opts for parameter in command.params):
                return f"the option {name} stands after the command, as in `aiorooms {command.name} {name}`"
    return None


@click.group(
    cls=_Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 90},
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    epilog=_EPILOG,
)
@click.version_option(__version__, prog_name="aiorooms", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> int:
    """Update Telnyx Video rooms, one or a million, and never lose track of one."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
    return BAD_INPUT


for command in (demo, update, get, list_, plan, show, apply, resume, verify, rollback, report, export, simulate):
    cli.add_command(command)
