"""Every exception that aiorooms raises.

The names are those that users of the official SDK know. Each reads as one line that tells what happened, to which
room, what the server said and what to do next. None holds the API key, and all survive pickle.

    AioroomsError
    |- InvalidRequestError (ValueError)           refused before anything was sent; `.problems` has all reasons
    |- ClientSettingsError (ValueError)           a client was made with a missing or wrong setting
    |- ClientStateError (RuntimeError)            a closed client, or one used from another event loop
    |- BulkInputError (ValueError)                an input of a bulk run is wrong; `.problems` has all reasons
    |- PlanFileError                              a plan file can't be used
    |- JournalError                               a journal can't be used, or written any more
    `- APIError
       |- APIConnectionError (ConnectionError)    no answer came
       |  `- APITimeoutError (TimeoutError)       no answer came in time
       |- APIResponseError                        an answer came that can't be read
       `- APIStatusError                          the server answered with an error status
          |- BadRequestError           400
          |- AuthenticationError       401
          |- PermissionDeniedError     403
          |- NotFoundError             404
          |- ConflictError             409
          |- UnprocessableEntityError  422
          |- RateLimitError            429
          `- InternalServerError       500 and above
"""

import warnings
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from ._problems import ErrorDetail, InputCode, InputProblem, Problem, ProblemCode

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIResponseError",
    "APIStatusError",
    "APITimeoutError",
    "AioroomsError",
    "AuthenticationError",
    "BadRequestError",
    "BulkInputError",
    "ClientSettingsError",
    "ClientStateError",
    "ConflictError",
    "ErrorDetail",
    "InputCode",
    "InputProblem",
    "InternalServerError",
    "InvalidRequestError",
    "JournalError",
    "NotFoundError",
    "PermissionDeniedError",
    "PlanFileError",
    "Problem",
    "ProblemCode",
    "RateLimitError",
    "Reason",
    "UnprocessableEntityError",
]


Reason: TypeAlias = Literal[
    "max_wait",
    "max_elapsed",
    "outage_patience",
    "closed",
    "plan_missing",
    "not_a_plan",
    "newer_plan",
    "incomplete_plan",
    "edited_plan",
    "replaced_plan",
    "other_server",
    "other_plan",
    "not_a_journal",
    "newer_journal",
    "damaged_journal",
    "empty_journal",
    "journal_exists",
    "file_exists",
    "journal_in_use",
    "journal_lost",
    "overwrites_journal",
    "missing_extra",
    "unreadable",
    "unwritable",
]
"""Which setting or file ended a call: for programs that word the next step themselves."""


class AioroomsError(Exception):
    """The base of all errors of aiorooms."""

    attempts: int
    """Number of attempts; a resend over a stale keep-alive connection is not counted."""
    uncertain: bool
    """True if the server may have carried out the request, and a read-back could not tell."""
    hint: str
    """What to do next, or why there was no further attempt, in Python's words; may be empty."""
    reason: Reason | None
    """The cause behind the hint; None if there is nothing to say beyond the message."""

    def __init__(
        self,
        message: str = "",
        *,
        attempts: int = 0,
        uncertain: bool = False,
        hint: str = "",
        reason: Reason | None = None,
    ) -> None:
        super().__init__(message)
        self.attempts = attempts
        self.uncertain = uncertain
        self.hint = hint
        self.reason = reason

    @property
    def message(self) -> str:
        """What happened, without the attempts and the hint."""
        return str(self.args[0])

    @property
    def outcome_unknown(self) -> bool:
        """The old name of `uncertain`."""
        warnings.warn("outcome_unknown is called `uncertain` now", DeprecationWarning, stacklevel=2)
        return self.uncertain

    def __str__(self) -> str:
        text = self.message
        if self.attempts > 1:
            text = f"{text}, after {self.attempts} attempts"
        if self.hint:
            text = f"{text}; {self.hint}"
        if self.uncertain:
            text = f"{text}; the server may have carried it out: look before sending it again"
        return text

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (type(self), self.args), self.__dict__


def _restore(cls: type[AioroomsError], args: tuple[Any, ...]) -> AioroomsError:
    """Rebuild a pickled error without calling its `__init__`, whose keywords are not in `args`."""
    error = cls.__new__(cls)
    error.args = args
    return error


class InvalidRequestError(AioroomsError, ValueError):
    """The request is wrong and was not sent. `.problems` lists everything that is wrong with it."""

    problems: tuple[Problem, ...]

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


class ClientSettingsError(AioroomsError, ValueError):
    """A setting of the client, or of one of its parts, is missing or wrong."""

    setting: str | None
    """The name of the argument, such as `base_url` or `max_rate`; None if it is not about a single one."""
    value: object
    """What was given; None if nothing was, and if it is or may hold a secret."""
    wrong: str
    """What is wrong with the setting, without its name: `is 0`. What would be right is the `hint`."""

    def __init__(
        self,
        message: str = "",
        *,
        setting: str | None = None,
        value: object = None,
        wrong: str = "",
        hint: str = "",
        reason: Reason | None = None,
    ) -> None:
        super().__init__(message, hint=hint, reason=reason)
        self.setting = setting
        self.value = value
        self.wrong = wrong


class ClientStateError(AioroomsError, RuntimeError):
    """The client is closed, or is used from another event loop than the one it belongs to."""


class BulkInputError(AioroomsError, ValueError):
    """An input of a bulk run is wrong, and nothing was sent. `.problems` lists everything that is wrong with it."""

    problems: tuple[InputProblem, ...]

    def __init__(self, problems: Sequence[InputProblem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


class PlanFileError(AioroomsError):
    """A plan file can't be used: it isn't one, is incomplete, was edited, or is of a newer version."""


class JournalError(AioroomsError):
    """A journal can't be used: it isn't one, is of another plan, in use, or can't be written any more."""


class APIError(AioroomsError):
    """The base of everything that goes wrong between sending a request and reading its answer."""


class APIConnectionError(APIError, ConnectionError):
    """No answer came: the connection could not be made, or broke."""


class APITimeoutError(APIConnectionError, TimeoutError):
    """No answer came within the timeout of an attempt."""


class APIResponseError(APIError):
    """An answer came that can't be read: not JSON, or not what the API describes."""

    path: str | None
    """The path of what is wrong in the answer, such as `data.sessions[0].active`; None if the whole is unreadable."""
    status: int | None
    """The HTTP status; None if the answer was not even HTTP."""

    def __init__(
        self,
        message: str = "",
        *,
        path: str | None = None,
        status: int | None = None,
        attempts: int = 0,
        uncertain: bool = False,
        hint: str = "",
        reason: Reason | None = None,
    ) -> None:
        super().__init__(message, attempts=attempts, uncertain=uncertain, hint=hint, reason=reason)
        self.path = path
        self.status = status


class APIStatusError(APIError):
    """The server answered with an error status."""

    status: int
    """The HTTP status."""
    errors: tuple[ErrorDetail, ...]
    """What the server said, one entry for each error object of the answer."""
    request_id: str | None
    """The id to give to Telnyx's support."""
    retry_after: float | None
    """Seconds that the server asked to wait."""

    def __init__(
        self,
        message: str = "",
        *,
        status: int,
        errors: Sequence[ErrorDetail] = (),
        request_id: str | None = None,
        retry_after: float | None = None,
        attempts: int = 0,
        uncertain: bool = False,
        hint: str = "",
        reason: Reason | None = None,
    ) -> None:
        super().__init__(message, attempts=attempts, uncertain=uncertain, hint=hint, reason=reason)
        self.status = status
        self.errors = tuple(errors)
        self.request_id = request_id
        self.retry_after = retry_after


class BadRequestError(APIStatusError):
    """400: the server could not make sense of the request."""


class AuthenticationError(APIStatusError):
    """401: the API key is missing, wrong or revoked."""


class PermissionDeniedError(APIStatusError):
    """403: the API key is good, but may not do this."""


class NotFoundError(APIStatusError):
    """404: there is no such room, or it belongs to another account."""


class ConflictError(APIStatusError):
    """409: the request clashes with the present state."""


class UnprocessableEntityError(APIStatusError):
    """422: the server refused the values; `.errors` says which and why."""


class RateLimitError(APIStatusError):
    """429: too many requests; or not sent, because the wait that the server asked for is too long."""


class InternalServerError(APIStatusError):
    """500 and above: the server, or a proxy before it, failed."""
