"""`aiorooms webhooks`: the group of commands about webhooks and their settings."""

import click

from ._audit import audit_command
from ._command import HELP_OPTIONS
from ._exit_codes import INVALID_INPUT
from ._listen import listen_command
from ._probe import probe_command
from ._replay import replay_command
from ._stderr import write_stderr

__all__ = ["webhooks"]


@click.group(
    context_settings={"help_option_names": HELP_OPTIONS},
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
)
@click.pass_context
def webhooks(ctx: click.Context) -> int:
    """Audit webhook settings, test webhook URLs, and show webhooks.

    \b
    Examples:
      aiorooms webhooks audit
      aiorooms webhooks probe https://hooks.example.com/rooms
      aiorooms webhooks listen
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    if ctx.invoked_subcommand is None:
        write_stderr(ctx.get_help() + "\n")
    return INVALID_INPUT


webhooks.add_command(audit_command)
webhooks.add_command(probe_command)
webhooks.add_command(listen_command)
webhooks.add_command(replay_command)
