"""`aiorooms completion`: print the script that makes a shell complete commands, options and file names.

The script asks `aiorooms` itself for the completions, with the variable `_AIOROOMS_COMPLETE`, so it does not have to be
printed again when aiorooms is upgraded.
"""

from typing import Final

import click
from click.shell_completion import get_completion_class

from ._command import Command, Value
from ._exit_codes import OK
from ._output import Output
from ._values import one_of

__all__ = ["completion"]

_PROGRAM: Final = "aiorooms"
_VARIABLE: Final = "_AIOROOMS_COMPLETE"
"""click looks for a variable of this name."""

_SHELLS: Final = ("bash", "zsh", "fish")


def _complete_shell(ctx: click.Context, parameter: click.Parameter, begin: str) -> list[str]:
    return [name for name in _SHELLS if name.startswith(begin)]


@click.command(cls=Command)
@click.argument(
    "shell",
    metavar="SHELL",
    type=Value(one_of(_SHELLS)),
    shell_complete=_complete_shell,
)
@click.pass_context
def completion(ctx: click.Context, shell: str) -> int:
    """Print a script that completes commands in your shell.

    SHELL is bash, zsh or fish. The Tab key then completes commands, options and file names. The examples install the
    script for new shells.

    \b
    Examples:
      aiorooms completion bash >> ~/.bashrc
      aiorooms completion zsh >> ~/.zshrc
      aiorooms completion fish > ~/.config/fish/completions/aiorooms.fish

    bash must be version 4.4 or later. In zsh, the line "autoload -Uz compinit && compinit" must come first.
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    kind = get_completion_class(shell)
    assert kind is not None  # click has a class for each of the shells
    script = kind(ctx.find_root().command, {}, _PROGRAM, _VARIABLE)
    # `source()` would start bash, to check its version.
    out = Output(json=False)
    for line in (script.source_template % script.source_vars()).strip("\n").split("\n"):
        out.line(line)
    return OK
