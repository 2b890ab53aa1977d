"""Reading what stands on the command line and in the environment.

All of it is read before anything is sent, and all that is wrong is told at once, each under the name that the user
wrote. So click hands over texts as they are, and `Reader` turns them into values and keeps what is wrong with them.
"""

import functools
import math
import os
import re
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import attrs
import click

from .._pacing import Pacing
from .._text import quoted
from ..client import RoomsClient
from ..errors import ClientSettingsError
from ..models import read_room_ref

if TYPE_CHECKING:
    from ..simulator import RateLimit

__all__ = ["BadInputError", "Reader", "api_options", "json_option"]

Command = TypeVar("Command", bound=Callable[..., Any])
Word = TypeVar("Word", bound=str)

_MOST_ROOMS: Final = 1_000_000

# The simulator knows them too; but it is not imported for a look at the help.
_LIMITERS: Final[tuple[Literal["fixed", "sliding", "bucket"], ...]] = ("fixed", "sliding", "bucket")
_ROUNDINGS: Final[tuple[Literal["fractional", "up", "down"], ...]] = ("fractional", "up", "down")
_RETRY_AFTERS: Final[tuple[Literal["none", "seconds", "date", "ms"], ...]] = ("none", "seconds", "date", "ms")


def api_options(command: Command) -> Command:
    """Add the options of every command that speaks to the API."""
    base_url = click.option(
        "--base-url",
        metavar="URL",
        help="Where the API is. Without it TELNYX_BASE_URL, else https://api.telnyx.com/v2.",
    )
    timeout = click.option("--timeout", metavar="SECONDS", help="For one attempt, not for all of them.  [default: 30]")
    return base_url(timeout(json_option(command)))


def json_option(command: Command) -> Command:
    """Add `--json`."""
    text = "Write JSON on standard output, and nothing else there."
    return click.option("--json", "as_json", is_flag=True, help=text)(command)


class BadInputError(Exception):
    """What was given is wrong, and nothing was sent. `.problems` has a line for each thing that is wrong."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class Reader:
    """Turns texts into values. What is None was not given and stays None; what is wrong gives None and is kept."""

    def __init__(self) -> None:
        self._problems: list[str] = []

    def wrong(self, message: str, name: str = "") -> None:
        """Keep a problem, of the option of that name if there is one."""
        self._problems.append(f"{name}: {message}" if name else message)

    def refuse(self) -> None:
        """Raise `BadInputError` if anything was wrong."""
        if self._problems:
            raise BadInputError(self._problems)

    def whole_number(self, name: str, text: str | None, allowed: range) -> int | None:
        """Read a whole number in the range."""
        if text is None:
            return None
        ends = f"{allowed[0]} to {allowed[-1]}"
        if not _WHOLE.fullmatch(text):
            self.wrong(f"{quoted(text)} is not a whole number; give {ends}", name)
        elif (value := int(text)) not in allowed:
            self.wrong(f"{value} is not in the range {ends}", name)
        else:
            return value
        return None

    def seconds(self, name: str, text: str | None, *, zero: bool = False) -> float | None:
        """Read a number of seconds, above 0 or, with `zero`, also 0."""
        value = self._number(name, text, "a number of seconds")
        if value is not None and (value < 0 or (value == 0 and not zero)):
            self.wrong(f"{quoted(text)} is {'below 0' if zero else 'not above 0'}; give a number of seconds", name)
            return None
        return value

    def rate(self, name: str, text: str | None) -> float | None:
        """Read a number of requests per second, above 0."""
        value = self._number(name, text, "a number of requests per second")
        if value is not None and not value >= _LEAST_RATE:
            self.wrong(f"{quoted(text)} is not {_LEAST_RATE:g} or above; give requests per second", name)
            return None
        return value

    def new_file(self, name: str, path: Path, *, overwrite: bool, source: Path | None = None) -> Path:
        """Take a place for a file that is to be written, where there is none yet, and never that of its source."""
        try:
            is_there = path.exists()
        except OSError:
            is_there = False  # whoever writes it says why that can't be done
        if is_there and source is not None and source.exists() and path.samefile(source):
            self.wrong(f"{quoted(str(path))} is what is read; give another place", name)
        elif is_there and not overwrite:
            self.wrong(f"{quoted(str(path))} is there already; give another place, or --overwrite", name)
        return path

    def share(self, name: str, text: str | None) -> float | None:
        """Read a share from 0 to 1, also in percent."""
        wanted = "a share from 0 to 1, such as 0.05 or 5%"
        if text is not None and text.endswith("%"):
            value = self._number(name, text[:-1], wanted)
            value = None if value is None else value / 100
        else:
            value = self._number(name, text, wanted)
        if value is not None and not 0 <= value <= 1:
            self.wrong(f"{quoted(text)} is not {wanted}", name)
            return None
        return value

    def one_of(self, name: str, text: str | None, allowed: Sequence[Word]) -> Word | None:
        """Read one of some words."""
        for word in allowed:
            if word == text:
                return word
        if text is not None:
            self.wrong(f"{quoted(text)} is not {', '.join(allowed[:-1])} or {allowed[-1]}", name)
        return None

    def day(self, name: str, text: str | None) -> date | None:
        """Read a day such as 2024-05-31."""
        if text is None:
            return None
        try:
            # By itself it would also take 20240531 and 2024-W22-5, which look like slips.
            return date.fromisoformat(text if _DAY.fullmatch(text) else "")
        except ValueError:
            self.wrong(f"{quoted(text)} is not a day; write it as YYYY-MM-DD", name)
            return None

    def rooms(self, text: str, *, least: int) -> int:
        """Read how many rooms a simulator is to have."""
        return self.whole_number("--rooms", text, range(least, _MOST_ROOMS + 1)) or 0

    def rate_limit(
        self,
        text: str | None,
        *,
        limiter: str | None = None,
        reset_rounding: str | None = None,
        retry_after: str | None = None,
        headers: bool = True,
    ) -> "RateLimit | None":
        """Read a rate limit such as `100/1s`, and how it is kept; `none` means that there is none.

        What tells how it is kept is wrong where there is none to keep.
        """
        rule = None
        if text is None or text == "none":
            details = {
                "--limiter": limiter is not None,
                "--reset-rounding": reset_rounding is not None,
                "--retry-after": retry_after is not None,
                "--no-rate-limit-headers": not headers,
            }
            for name, given in details.items():
                if given:
                    self.wrong("there is no rate limit; give one with --rate-limit, such as 100/1s", name)
        else:
            from ..simulator import RateLimit  # late: most commands do without the simulator

            try:
                rule = RateLimit.parse(text)
            except ValueError as error:
                self.wrong(f"{error}", "--rate-limit")
        kind = self.one_of("--limiter", limiter, _LIMITERS)
        rounding = self.one_of("--reset-rounding", reset_rounding, _ROUNDINGS)
        told = self.one_of("--retry-after", retry_after, _RETRY_AFTERS)
        if rule is None:
            return None
        return attrs.evolve(
            rule,
            kind=kind or rule.kind,
            reset_rounding=rounding or rule.reset_rounding,
            retry_after=told or rule.retry_after,
            headers=headers,
        )

    def room_id(self, text: str, where: str) -> str | None:
        """Read the id of a room; `where` it stands is told if it is none."""
        room_id, problems = read_room_ref(text)
        for problem in problems:
            self.wrong(problem.message, where)
        return None if problems else room_id

    def client(
        self,
        base_url: str | None,
        timeout: str | None,
        *,
        max_connections: int = 100,
        max_rate: float | None = None,
    ) -> RoomsClient | None:
        """Make the client from the options and the environment."""
        seconds = self.seconds("--timeout", timeout)
        key = os.environ.get("TELNYX_API_KEY")
        if not key:
            self.wrong("TELNYX_API_KEY is not set: put your API key there (`aiorooms demo` needs none)")
        make = functools.partial(
            RoomsClient,
            key or "none",
            base_url=base_url,
            max_connections=max_connections,
            pacing=Pacing(max_rate=max_rate),
        )
        try:
            return make() if seconds is None else make(timeout=seconds)
        except ClientSettingsError as error:
            # The client speaks of its own arguments; here they have other names.
            text = str(error).replace("api_key", "TELNYX_API_KEY").replace(", or allow_insecure_http=True", "")
            self.wrong(text.replace("base_url", "TELNYX_BASE_URL" if base_url is None else "--base-url"))
            return None

    def _number(self, name: str, text: str | None, wanted: str) -> float | None:
        if text is None:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            self.wrong(f"{quoted(text)} is not {wanted}", name)
            return None
        return value


_LEAST_RATE: Final = 0.001
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
