"""The class of all commands: everything that is wrong with a command line is reported at once, before anything is sent.

click stops at the first bad parameter. Here each option has the type `Value`, which records what is wrong with its text
in the context and lets click go on. Then the *steps* of the command run: they check what takes several options, read
standard input, and make what the command works with. A step reads and changes `ctx.params`, which click hands to the
command's function; so that function has good values only, and no checks.

Example: `aiorooms get lobby --timeout 0` gives two problems from two types. The step `make_client` finds None for the
timeout, makes a client without it all the same, and so reports also that the API key is missing. Then `BadInputError`
is raised with the three of them, in the order in which the command declares its parameters.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast

import click

from ._words import usage_text

__all__ = ["HELP_OPTIONS", "BadInputError", "Command", "Context", "Step", "Value"]

T = TypeVar("T")


class BadInputError(Exception):
    """The input is invalid, and nothing was sent. `.problems` has a line for each thing that is wrong."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class Context(click.Context):
    """A command line: its values in `params`, and what is wrong with them."""

    def __init__(self, command: click.Command, *args: Any, **extra: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(command, *args, **extra)
        self._problems: list[tuple[str, str]] = []

    def wrong(self, message: str, name: str = "") -> None:
        """Record a problem, with the name of its option or argument if it has one."""
        self._problems.append((name, message))

    @property
    def has_problems(self) -> bool:
        """Whether anything is wrong."""
        return bool(self._problems)

    def is_wrong(self, name: str) -> bool:
        """Whether there is a problem with that option or argument."""
        return any(wrong == name for wrong, _ in self._problems)

    def raise_problems(self) -> None:
        """Raise `BadInputError` if there are problems."""
        if not self._problems:
            return
        order = {_name(parameter): number for number, parameter in enumerate(self.command.params)}
        problems = sorted(self._problems, key=lambda problem: order.get(problem[0], len(order)))
        raise BadInputError([f"{name}: {message}" if name else message for name, message in problems])


HELP_OPTIONS: Final = ["-h", "--help"]

Step: TypeAlias = Callable[[Context], None]
"""Checks what takes several parameters, or makes something of them, in `ctx.params`; there a bad value is None."""


class Command(click.Command):
    """A command that reports all bad parameters at once, and runs its steps before its function."""

    context_class = Context

    def __init__(self, *args: Any, steps: Sequence[Step] = (), **attributes: Any) -> None:  # noqa: ANN401 - click's own
        # click keeps the help option of the first context, so it is said here and not only by the group.
        attributes["context_settings"] = {"help_option_names": HELP_OPTIONS}
        super().__init__(*args, **attributes)
        self._steps = steps

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Fill `ctx.params`. Raises `BadInputError` with everything that is wrong."""
        context = cast("Context", ctx)
        rest = args
        try:
            rest = super().parse_args(ctx, args)
        except click.UsageError as error:  # a missing argument, or one too many: it ends the parsing
            if not context.has_problems:
                raise
            context.wrong(usage_text(error))
            context.raise_problems()
        if not ctx.resilient_parsing:
            for step in self._steps:
                step(context)
            context.raise_problems()
        return rest


class Value(click.ParamType[T | None], Generic[T]):
    """A value that is read from text by a function, which raises `ValueError` with what is wrong."""

    name = "value"

    def __init__(self, read: Callable[[str], T]) -> None:
        self._read = read

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> T | None:
        """Return the value; None if something is wrong with it, which the context keeps."""
        try:
            return self._read(str(value))
        except ValueError as error:
            if not isinstance(ctx, Context) or param is None:
                self.fail(str(error), param, ctx)
            ctx.wrong(str(error), _name(param))
            return None


def _name(parameter: click.Parameter) -> str:
    """How a parameter is called on the command line: `--max-failures` or `ROOM_ID`."""
    if isinstance(parameter, click.Option):
        return parameter.opts[0]
    return parameter.human_readable_name.strip("[].")
