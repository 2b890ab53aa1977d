"""Errors in the words of the command line: its options and commands, not Python's arguments and methods.

An error carries data: what happened (`message`), the number of attempts (`attempts`), and why there was no way on
(`reason`). The hint that it brings along speaks of Python; here the reason gives another one.
"""

import copy
from collections.abc import Mapping
from typing import Final

import attrs
import click

from .._pacing import Pacing
from ..errors import AioroomsError, BulkInputError, ClientSettingsError, InputProblem, Reason

__all__ = ["error_line", "input_problems", "option", "setting_problem", "usage_error_line", "usage_text"]

_HINTS: Final[Mapping[Reason, str]] = {
    "max_wait": f"the server asks for a pause of more than {Pacing().max_wait:g} s; try again later",
    "max_elapsed": "there was no time left for another attempt; try again later",
    "outage_patience": "the server has been out for too long; try again later",
    "closed": "the command was ending",
    "plan_missing": "the journal names it; if it was moved, say where it is with --plan",
    "not_a_plan": "`aiorooms plan` makes one",
    "newer_plan": "update it with `pip install -U aiorooms`",
    "incomplete_plan": "plan again with `aiorooms plan`",
    "replaced_plan": "run the command again",
    "edited_plan": "edit the source, and plan again with `aiorooms plan`",
    "other_server": "give the address of its server with --base-url",
    "other_plan": "give the plan of this journal with --plan",
    "not_a_journal": "`aiorooms apply` writes one",
    "newer_journal": "update it with `pip install -U aiorooms`",
    "empty_journal": "`aiorooms apply` begins it anew",
    "journal_exists": "`aiorooms resume` goes on with it, or give another place with --journal",
    "file_exists": "give another place with --journal",
    "journal_in_use": "wait until it has ended",
    "journal_lost": "nothing more was sent; `aiorooms resume` reads back what was in flight",
    "overwrites_journal": "give another place with --out",
}
"""What to do next, by the reason of an error. Of other reasons the error's own hint is good here too."""


def error_line(error: AioroomsError) -> str:
    """Word an error on one line."""
    hint = None if error.reason is None else _HINTS.get(error.reason)
    if hint is None:
        return str(error)
    worded = copy.copy(error)
    worded.hint = hint
    return str(worded)


_SELECTION: Final = {"where": "--where", "set_fields": "--set", "rewrite_webhook_host": "--rewrite-webhook-host"}


_MESSAGES: Final = {"one_room_only": "a name belongs to one room only; use `aiorooms update`, or a file"}


def input_problems(error: BulkInputError) -> tuple[InputProblem, ...]:
    """Return what is wrong with a selection, under the options that it was given with."""
    return tuple(
        attrs.evolve(
            problem,
            file=_SELECTION.get(problem.file, problem.file),
            message=_MESSAGES.get(problem.code or "", problem.message),
        )
        for problem in error.problems
    )


def option(field: str) -> str:
    """Return the option of a writable field."""
    return "--" + field.replace("_", "-")


_SETTINGS: Final = {"max_rate": "--rate", "max_connections": "--concurrency"}


def setting_problem(error: ClientSettingsError, *, base_url: str | None) -> str:
    """Word what is wrong with the client's settings; `base_url` is the option, if it was given."""
    if error.setting == "api_key":
        return f"TELNYX_API_KEY {error.wrong}; {error.hint}"
    if error.setting == "base_url":
        name = "TELNYX_BASE_URL" if base_url is None else "--base-url"
        return f"{name} {error.wrong}; give https, host and path only, such as https://api.telnyx.com/v2"
    if error.setting is not None:
        return f"{_SETTINGS.get(error.setting) or option(error.setting)} {error.wrong}; {error.hint}"
    return error_line(error)


# --- slips, on which click ends ---


def usage_text(error: click.ClickException) -> str:
    """Word what click says of a command line as the middle of a sentence."""
    if isinstance(error, (click.NoSuchOption, click.NoSuchCommand)) and error.possibilities:
        return f"{_clause(error.message)}; did you mean {' or '.join(map(repr, error.possibilities))}?"
    return _clause(error.format_message())


def _clause(sentence: str) -> str:
    text = " ".join(sentence.split()).removesuffix(".")
    return text[:1].lower() + text[1:]


def usage_error_line(error: click.ClickException) -> str:
    """Word a slip on one line, with the help that explains it."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    about = _option_hint(error.option_name, context) if isinstance(error, click.NoSuchOption) else None
    text = about or usage_text(error)
    command = context.command_path if context is not None else "aiorooms"
    return f"{text} See `{command} --help`" if text.endswith("?") else f"{text}; see `{command} --help`"


def _option_hint(name: str, context: click.Context | None) -> str | None:
    """Say what to do instead of an option that can't be there, if we know."""
    if name == "--api-key":
        return "the API key is read from TELNYX_API_KEY, as others on the machine can read a command's options"
    if context is not None and isinstance(context.command, click.Group):
        for command in context.command.commands.values():
            if any(name in parameter.opts for parameter in command.params):
                return f"the option {name} stands after the command, as in `aiorooms {command.name} {name}`"
    return None
