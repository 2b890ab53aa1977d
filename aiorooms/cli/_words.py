"""Error messages that name the options and commands of the command line, not Python's arguments and methods.

The `hint` of an error is written for Python programs. This module replaces the hint with one for the command line,
chosen by the `reason` of the error.
"""

import copy
import re
from collections.abc import Mapping
from typing import Final

import attrs
import click

from .._pacing import Pacing
from ..errors import AioroomsError, BulkInputError, ClientSettingsError, InputProblem, Reason

__all__ = ["error_line", "input_problems", "option_name", "setting_problem", "usage_error_line", "usage_text"]

_HINTS: Final[Mapping[Reason, str]] = {
    "max_wait": f"the server asked for a pause longer than {Pacing().max_wait:g} s; try again later",
    "max_elapsed": "there was no time left for another attempt; try again later",
    "deadline": "there was no time left for another attempt; try again later",
    "outage_patience": "the server was unavailable, or rate limited every request, for too long; try again later",
    "closed": "the command was shutting down",
    "plan_missing": "the journal names this path; if the plan was moved, give its new path with --plan, or put it "
    "beside the journal",
    "not_a_plan": "create one with `aiorooms plan`",
    "newer_plan": "upgrade with `pip install -U aiorooms`",
    "incomplete_plan": "write a new one with `aiorooms plan`",
    "replaced_plan": "run the command again",
    "modified_plan": "no further update was sent; restore the plan from a copy, then continue with `aiorooms resume`",
    "plan_in_use": "wait until the other command has finished",
    "edited_plan": "edit the input of `aiorooms plan` instead, and write a new plan",
    "other_server": "use --base-url to give the server of the plan or journal",
    "other_plan": "use --plan to give the plan of this journal",
    "not_a_journal": "`aiorooms apply` creates one",
    "newer_journal": "upgrade with `pip install -U aiorooms`",
    "damaged_journal": "restore it from a copy, or apply the plan again and give another file with --journal: rooms "
    "that have their new values are not updated again",
    "empty_journal": "delete it, and start again with `aiorooms apply`",
    "journal_exists": "continue it with `aiorooms resume`, or give another file with --journal",
    "file_exists": "give another file with --journal",
    "journal_in_use": "wait until the other command has finished",
    "replaced_journal": "run the command again",
    "journal_lost": "no further update was sent; `aiorooms resume` reads back the rooms whose update was in flight",
    "journal_removed": "no further update was sent; if it was moved, continue with `aiorooms resume` and its new path; "
    "else apply the plan again",
    "journal_truncated": "no further update was sent; apply the plan again and give another file with --journal: rooms "
    "that have their new values are not updated again",
    "no_locks": "if no other command uses the journal and the plan, give --no-lock",
    "no_run": "`aiorooms status --on URL` lists the newest 100 runs",
    "overwrites_journal": "give another file with --out",
    "insecure_http": "use https, or --allow-insecure-http if the server is a simulator or the network is trusted",
}
"""A hint for each reason that needs one. For other reasons, the error's own hint is used."""


def error_line(error: AioroomsError) -> str:
    """Return an error as one line."""
    hint = None if error.reason is None else _HINTS.get(error.reason)
    if hint is not None:
        error = copy.copy(error)
        error.hint = hint
    return _COPIED.sub("standard input", str(error))


_COPIED: Final = re.compile(r"'[^']*/aiorooms-[^/']*/standard input'")
"""The path of a copy of standard input (`_streams`), which is gone when the command has ended."""


_SELECTION: Final = {"where": "--where", "set_fields": "--set", "rewrite_webhook_host": "--rewrite-webhook-host"}


_MESSAGES: Final = {
    "one_room_only": "a unique name belongs to only one room; use `aiorooms update`, or a FILE with one name per room",
    "nothing_to_change": "there is nothing to change; give --set or --rewrite-webhook-host",
}


_ADVICE: Final = {"unknown_column": ", or give --ignore-columns"}


def input_problems(error: BulkInputError) -> tuple[InputProblem, ...]:
    """Return the problems of a selection, with the option that each one is about."""
    return tuple(
        attrs.evolve(
            problem,
            file=_SELECTION.get(problem.file, problem.file),
            message=_MESSAGES.get(problem.code or "", problem.message + _ADVICE.get(problem.code or "", "")),
        )
        for problem in error.problems
    )


def option_name(field: str) -> str:
    """Return the option for a writable field."""
    return "--" + field.replace("_", "-")


_SETTINGS: Final = {"max_rate": "--rate", "max_connections": "--concurrency"}


def setting_problem(
    error: ClientSettingsError, *, base_url: str | None = None, shared_pacing: str | None = None
) -> str:
    """Return the message about an invalid client setting. The others are the values of these options, if given."""
    if error.setting == "source":
        return f"{'AIOROOMS_SHARED_PACING' if shared_pacing is None else '--shared-pacing'} {error.wrong}; {error.hint}"
    if error.setting == "api_key":
        return f"TELNYX_API_KEY {error.wrong}; {error.hint}"
    if error.setting == "base_url":
        name = "TELNYX_BASE_URL" if base_url is None else "--base-url"
        if error.reason == "insecure_http":
            return f"{name} {error.wrong}; {_HINTS[error.reason]}"
        return f"{name} {error.wrong}; give an https URL with host and path only, such as https://api.telnyx.com/v2"
    if error.setting is not None and error.setting.isupper():  # an environment variable
        return str(error)
    if error.setting is not None:
        return f"{_SETTINGS.get(error.setting) or option_name(error.setting)} {error.wrong}; {error.hint}"
    return error_line(error)


# --- usage errors that click raises ---


def usage_text(error: click.ClickException) -> str:
    """Return click's message without its initial capital letter and its full stop."""
    if isinstance(error, (click.NoSuchOption, click.NoSuchCommand)) and error.possibilities:
        return f"{_clause(error.message)}; did you mean {' or '.join(map(repr, error.possibilities))}?"
    return _clause(error.format_message())


def _clause(sentence: str) -> str:
    text = " ".join(sentence.split()).removesuffix(".")
    return text[:1].lower() + text[1:]


def usage_error_line(error: click.ClickException) -> str:
    """Return a usage error as one line, with the command that shows the help."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    about = _option_hint(error.option_name, context) if isinstance(error, click.NoSuchOption) else None
    text = about or usage_text(error)
    command = context.command_path if context is not None else "aiorooms"
    return f"{text} See `{command} --help`" if text.endswith("?") else f"{text}; see `{command} --help`"


def _option_hint(name: str, context: click.Context | None) -> str | None:
    """Return the advice for an option that is not allowed here, or None."""
    if name == "--api-key":
        return "set TELNYX_API_KEY instead of --api-key, because other users of the machine can read the options"
    if context is not None and isinstance(context.command, click.Group):
        commands = context.command.commands
        named = [commands[word] for word in context.args if word in commands]
        for command in (*named, *commands.values()):
            if any(name in parameter.opts for parameter in command.params):
                return (
                    f"the option {name} belongs after the command, as in `{context.command_path} {command.name} {name}`"
                )
    return None
