"""All exceptions that aiorooms raises.

The names of status and connection errors match those of the official SDK. Each message is one line: what happened, to
which room, what the server said and what to do next. No error contains the API key. All errors can be pickled.

    AioroomsError
    |- InvalidRequestError (ValueError)           the request is invalid and was not sent; see `.problems`
    |- ClientSettingsError (ValueError)           a setting is missing or invalid
    |  `- PolicyFileError                         a policy file can't be read; see `.problems`
    |- ClientStateError (RuntimeError)            the client is closed, or is used from another event loop
    |- WebhookVerificationError                   a webhook is not proved to be genuine
    |- BulkInputError (ValueError)                the input of a bulk run is invalid; see `.problems`
    |- PlanFileError                              a plan file can't be used or written
    |- JournalError                               a journal can't be used or written
    |- DistributedRunError                        a run on several machines can't be used, or its store can't
    `- APIError
       |- APIConnectionError (ConnectionError)    no answer arrived
       |  `- APITimeoutError (TimeoutError)       no answer arrived in time
       |- APIResponseError                        an answer can't be read, or does not confirm the request
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
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from ._problems import ErrorDetail, InputCode, InputProblem, Problem, ProblemCode
from ._text import excerpt

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
    "DistributedRunError",
    "ErrorDetail",
    "InputCode",
    "InputProblem",
    "InternalServerError",
    "InvalidRequestError",
    "JournalError",
    "NotFoundError",
    "PermissionDeniedError",
    "PlanFileError",
    "PolicyFileError",
    "Problem",
    "ProblemCode",
    "RateLimitError",
    "Reason",
    "UnprocessableEntityError",
    "WebhookVerificationError",
]


Reason: TypeAlias = Literal[
    "max_wait",
    "max_elapsed",
    "deadline",
    "outage_patience",
    "cannot_send",
    "stopped",
    "closed",
    "plan_missing",
    "not_a_plan",
    "newer_plan",
    "incomplete_plan",
    "edited_plan",
    "replaced_plan",
    "modified_plan",
    "plan_in_use",
    "other_server",
    "other_plan",
    "not_a_journal",
    "newer_journal",
    "damaged_journal",
    "joined_journals",
    "empty_journal",
    "journal_exists",
    "file_exists",
    "journal_in_use",
    "replaced_journal",
    "journal_lost",
    "journal_removed",
    "journal_truncated",
    "no_locks",
    "overwrites_journal",
    "missing_extra",
    "unreadable",
    "unwritable",
    "no_store",
    "unsafe_store",
    "no_run",
    "run_exists",
    "run_in_progress",
    "lost_run",
    "insecure_http",
    "missing_header",
    "duplicate_header",
    "malformed_header",
    "wrong_signature",
    "too_old",
    "in_the_future",
    "not_an_event",
]
"""A fixed code for the cause of an error, for programs that write their own hints."""


_MAX_REQUEST_ID: Final = 100
"""Maximum number of characters of a request id in an error message. `.request_id` contains all of it."""


class AioroomsError(Exception):
    """The base class of all errors of aiorooms."""

    attempts: int
    """Number of attempts. An attempt over a keep-alive connection that the server had already closed does not count."""
    uncertain: bool
    """True if the server may have carried out the request, and the client could not find out whether it did."""
    hint: str
    """What to do next, or why there was no further attempt, in terms of the Python API. May be empty."""
    reason: Reason | None
    """A fixed code for the cause; None if the class of the error is specific enough."""
    request_id: str | None = None
    """The id that the server gave the last request, for Telnyx support; None if it sent none."""
    was_sent: bool = False
    """False if no attempt of a request that changes something was sent, so that the server can't have acted on it."""

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
        """What happened, without the number of attempts, the hint, the advice for an uncertain outcome, and the id."""
        return str(self.args[0])

    @property
    def outcome_unknown(self) -> bool:
        """The deprecated name of `uncertain`."""
        warnings.warn("outcome_unknown is deprecated; use uncertain", DeprecationWarning, stacklevel=2)
        return self.uncertain

    def __str__(self) -> str:
        text = self.message
        if self.attempts > 1:
            text = f"{text}, after {self.attempts} attempts"
        if self.hint:
            text = f"{text}; {self.hint}"
        if self.uncertain:
            text = f"{text}; the outcome is uncertain: check the room before sending the request again"
        if self.request_id:
            text = f"{text} [request id {excerpt(self.request_id, _MAX_REQUEST_ID)}]"
        return text

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (type(self), self.args), self.__dict__


def _restore(cls: type[AioroomsError], args: tuple[Any, ...]) -> AioroomsError:
    """Restore a pickled error without calling its `__init__`, because `args` lacks the keyword arguments."""
    error = cls.__new__(cls)
    error.args = args
    return error


class InvalidRequestError(AioroomsError, ValueError):
    """The request is invalid and was not sent. `.problems` lists all its problems."""

    problems: tuple[Problem, ...]

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


class ClientSettingsError(AioroomsError, ValueError):
    """A setting is missing or invalid: an argument of a client, of a policy or of a bulk run."""

    setting: str | None
    """The name of the argument, such as `base_url` or `max_rate`; None if the error is not about a single argument."""
    value: object
    """The value that was given. None if no value was given, or if the value may contain a secret."""
    wrong: str
    """The mistake without the name of the setting, such as `is 0`. The `hint` says what would be valid."""

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


class PolicyFileError(ClientSettingsError):
    """A policy file can't be read, or contains invalid settings. See `WebhookUrlPolicy.from_toml`."""

    path: Path
    """The path of the file, as the caller gave it."""
    problems: tuple[str, ...]
    """All problems, in one line each, without the path."""

    def __init__(self, path: Path, problems: Sequence[str]) -> None:
        super().__init__(f"policy file {str(path)!r}: {'; '.join(problems)}")
        self.path = path
        self.problems = tuple(problems)


class ClientStateError(AioroomsError, RuntimeError):
    """The client is closed, or is used from an event loop other than its own."""


class WebhookVerificationError(AioroomsError):
    """A webhook is not proved to be genuine, or is not an event.

    The message tells an attacker nothing. `reason` says why, for the log: `missing_header`, `duplicate_header`,
    `malformed_header`, `wrong_signature`, `too_old`, `in_the_future` or `not_an_event`.
    """

    def __init__(self, message: str = "the webhook could not be verified", *, reason: Reason | None = None) -> None:
        super().__init__(message, reason=reason)


class DistributedRunError(AioroomsError):
    """A run on several machines can't be submitted, found, continued or read, or its store can't be used.

    `reason` is `no_store` (it can't be reached), `unsafe_store` (it may evict data), `no_run`, `run_exists`,
    `run_in_progress`, `lost_run` (its data is incomplete) or `missing_extra`.
    """


class BulkInputError(AioroomsError, ValueError):
    """The input of a bulk run is invalid, and nothing was sent. `.problems` lists all its problems."""

    problems: tuple[InputProblem, ...]

    def __init__(self, problems: Sequence[InputProblem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


class PlanFileError(AioroomsError):
    """A plan file can't be used or written. For example, it is not a plan, is incomplete, or was edited."""


class JournalError(AioroomsError):
    """A journal can't be used or written. For example, it is damaged, belongs to another plan, or is in use."""


class APIError(AioroomsError):
    """The base class of all errors that can occur when a request is sent and its answer is read."""


class APIConnectionError(APIError, ConnectionError):
    """No answer arrived, for example because the connection could not be opened or was lost."""


class APITimeoutError(APIConnectionError, TimeoutError):
    """No answer arrived within the timeout of an attempt, or the time of the call expired before the first attempt."""


class APIResponseError(APIError):
    """An answer arrived, but it can't be read (for example, it is not JSON), or does not confirm the request."""

    path: str | None
    """The path of the invalid value, such as `data.sessions[0].active`; None if the whole answer is invalid."""
    status: int | None
    """The HTTP status; None if the answer is not HTTP."""

    def __init__(
        self,
        message: str = "",
        *,
        path: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        attempts: int = 0,
        uncertain: bool = False,
        hint: str = "",
        reason: Reason | None = None,
    ) -> None:
        super().__init__(message, attempts=attempts, uncertain=uncertain, hint=hint, reason=reason)
        self.path = path
        self.status = status
        self.request_id = request_id


class APIStatusError(APIError):
    """The server answered with an error status."""

    status: int
    """The HTTP status."""
    errors: tuple[ErrorDetail, ...]
    """The error objects of the answer."""
    retry_after: float | None
    """The wait that the server asked for, in seconds; None if it asked for none."""

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
    """400: the server could not understand the request."""


class AuthenticationError(APIStatusError):
    """401: the API key is missing, wrong or revoked."""


class PermissionDeniedError(APIStatusError):
    """403: the API key is valid, but does not permit this request."""


class NotFoundError(APIStatusError):
    """404: the room does not exist, or belongs to another account."""


class ConflictError(APIStatusError):
    """409: the request conflicts with the current state on the server."""


class UnprocessableEntityError(APIStatusError):
    """422: the server rejected the values; `.errors` says which and why."""


class RateLimitError(APIStatusError):
    """429: too many requests. Or nothing was sent, because the rate limit requires a wait above `Pacing.max_wait`."""


class RateLimitTimeoutError(RateLimitError, APITimeoutError):
    """Nothing was sent, because the rate limit allowed no request before `max_elapsed` or the `deadline` expired.

    `retry_after` is the expected wait in seconds, so a web service can answer 503 with `Retry-After`.
    """


class InternalServerError(APIStatusError):
    """500 and above: the server, or a proxy in front of it, failed."""
