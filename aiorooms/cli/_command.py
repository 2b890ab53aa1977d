"""The class of all commands. It reports all problems in a command line together, before anything is sent.

By default, click stops at the first invalid parameter. So parameters with a value to check have the type `Value`. If
the value is invalid, `Value` records the problem in the context, and click continues with the next parameter.

When all parameters are parsed, the *steps* of the command run. Steps are functions that check combinations of options,
read standard input, and create objects such as the client. The steps read and change `ctx.params`, which click then
passes to the command's function. So the function receives only valid values.

For example, `aiorooms get lobby --timeout 0` is run without an API key. `ROOM_ID` and `--timeout` are both invalid. The
step `make_client` then finds a third problem: the API key is missing. `InvalidInputError` lists all three. Problems
with parameters come first, in the order in which the command declares the parameters. Other problems follow.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast

import click

from .._text import quoted
from ..errors import AioroomsError
from ._words import usage_text

__all__ = ["HELP_OPTIONS", "Command", "Context", "InvalidInputError", "Step", "SystemCallError", "Value"]

T = TypeVar("T")


class InvalidInputError(Exception):
    """The input is invalid, and nothing was sent. `.problems` contains one line for each problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class SystemCallError(Exception):
    """An `OSError` that the command does not handle, such as a full disk."""

    def __init__(self, error: OSError) -> None:
        where = "" if error.filename is None else f" ({quoted(error.filename)})"
        super().__init__(f"the operating system reported an error: {error.strerror or error}{where}")


@contextmanager
def _system_calls() -> Generator[None]:
    """Raise `SystemCallError` instead of an `OSError`, so that it can't be mistaken for an error of standard output."""
    try:
        yield
    except OSError as error:
        if isinstance(error, AioroomsError):
            raise
        raise SystemCallError(error) from error


class Context(click.Context):
    """The context of a command, with the problems found so far."""

    def __init__(self, command: click.Command, *args: Any, **extra: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(command, *args, **extra)
        self._problems: list[tuple[str, str]] = []

    def add_problem(self, message: str, name: str = "") -> None:
        """Record a problem. `name` is the invalid option or argument, or empty if there is no single one."""
        self._problems.append((name, message))

    @property
    def has_problems(self) -> bool:
        """Whether any problem was recorded."""
        return bool(self._problems)

    def is_invalid(self, name: str) -> bool:
        """Return whether a problem was recorded for this option or argument."""
        return any(named == name for named, _ in self._problems)

    def raise_problems(self) -> None:
        """Raise `InvalidInputError` if any problem was recorded."""
        if not self._problems:
            return
        order = {_name(parameter): number for number, parameter in enumerate(self.command.params)}
        problems = sorted(self._problems, key=lambda problem: order.get(problem[0], len(order)))
        raise InvalidInputError([f"{name}: {message}" if name else message for name, message in problems])


HELP_OPTIONS: Final = ["-h", "--help"]

Step: TypeAlias = Callable[[Context], None]
"""A function that checks several parameters together, or adds values to `ctx.params`.

In `ctx.params`, an invalid parameter is None.
"""


class Command(click.Command):
    """A command that reports all invalid parameters together, and runs its steps before its function."""

    context_class = Context

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - click's own
        steps: Sequence[Step] = (),
        sections: Mapping[str, Sequence[str]] | None = None,
        **attributes: Any,  # noqa: ANN401 - click's own
    ) -> None:
        """`sections` has the titles and the options of the sections of `--help`. The last one gets all others too."""
        # In the program, a command gets the option `-h` from the settings of the group `aiorooms`. The settings below
        # add `-h` to a command that is run without the group.
        attributes["context_settings"] = {"help_option_names": HELP_OPTIONS}
        super().__init__(*args, **attributes)
        self._steps = steps
        self._sections: Mapping[str, Sequence[str]] = sections or {}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, in sections if the command has any."""
        if not self._sections:
            super().format_options(ctx, formatter)
            return
        section_of = {name: title for title, names in self._sections.items() for name in names}
        *_, last = self._sections
        records: dict[str, list[tuple[str, str]]] = {title: [] for title in self._sections}
        order = {name: number for number, name in enumerate(section_of)}
        options = [parameter for parameter in self.get_params(ctx) if isinstance(parameter, click.Option)]
        for parameter in sorted(options, key=lambda option: order.get(_name(option), len(order))):
            if (record := parameter.get_help_record(ctx)) is not None:
                records[section_of.get(_name(parameter), last)].append(record)
        # All sections have the same columns.
        width = min(max(len(names) for rows in records.values() for names, _ in rows), _OPTION_COLUMNS)
        for title, rows in records.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl([(f"{names:<{width}}", text) for names, text in rows], col_max=_OPTION_COLUMNS)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments into `ctx.params`, and run the steps. Raise `InvalidInputError` with all problems."""
        context = cast("Context", ctx)
        rest = args
        try:
            rest = super().parse_args(ctx, args)
        except click.UsageError as error:  # click stops parsing at a missing or extra argument
            if not context.has_problems:
                error.ctx = error.ctx or ctx  # click doesn't set `ctx` if the argument of an option is missing
                raise
            context.add_problem(usage_text(error))
            context.raise_problems()
        if not ctx.resilient_parsing:
            with _system_calls():
                for step in self._steps:
                    step(context)
            context.raise_problems()
        return rest

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own type
        """Run the command's function. Raise `SystemCallError` for an `OSError` that the function doesn't handle."""
        with _system_calls():
            return super().invoke(ctx)


class Value(click.ParamType[T | None], Generic[T]):
    """A parameter type. `read` converts the argument to a value, or raises `ValueError` with the problem."""

    name = "value"

    def __init__(self, read: Callable[[str], T]) -> None:
        self._read = read

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> T | None:
        """Convert an argument. If it is invalid, record the problem in the context and return None."""
        try:
            return self._read(str(value))
        except ValueError as error:
            if not isinstance(ctx, Context) or param is None:
                self.fail(str(error), param, ctx)
            ctx.add_problem(str(error), _name(param))
            return None


_OPTION_COLUMNS: Final = 26
"""Maximum width of the names of options in `--help`, in columns. Longer names have their text on the next line."""


def _name(parameter: click.Parameter) -> str:
    """Return the name of a parameter on the command line, such as `--max-failures` or `ROOM_ID`."""
    if isinstance(parameter, click.Option):
        return next((name for name in parameter.opts if name.startswith("--")), parameter.opts[0])
    return parameter.human_readable_name.strip("[].")
