"""`aiorooms webhooks`: the group of commands about webhook settings."""

import click

from ._audit import audit_command
from ._command import HELP_OPTIONS
from ._probe import probe_command

__all__ = ["webhooks"]


@click.group(context_settings={"help_option_names": HELP_OPTIONS}, subcommand_metavar="COMMAND [ARGS]...")
def webhooks() -> None:
    """Audit webhook settings, and test webhook URLs."""


webhooks.add_command(audit_command)
webhooks.add_command(probe_command)
