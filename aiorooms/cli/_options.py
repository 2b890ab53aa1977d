"""Options and steps that several commands share."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from .._http.retry import RetryPolicy
from .._pacing import Pacing, RedisPacing
from .._text import quoted
from .._webhook_url import DEFAULT_POLICY, WebhookUrlPolicy
from ..bulk._files import kind_of_file
from ..client import RoomsClient
from ..errors import ClientSettingsError, PolicyFileError
from ._command import Context, Value
from ._values import SHORTEST, read_duration, whole_number
from ._verbose import show_log_lines
from ._watch import quiet_option, watch
from ._words import setting_problem

__all__ = [
    "CONNECTION_OPTIONS",
    "FILE",
    "MAX_ROOMS",
    "api_options",
    "check_new_file",
    "connection_options",
    "delivery_options",
    "every_room_option",
    "json_option",
    "make_client",
    "make_client_and_keep_policy",
    "make_two_clients",
    "overwrite_option",
    "policy_option",
    "read_policy",
    "seed_option",
    "value_option",
]

F = TypeVar("F", bound=Callable[..., Any])


class _File(click.Path):
    """The type of a parameter that is a path."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - click's own types
        """Return the path. If no file can have it, record the problem in the context and return None."""
        if "\0" in os.fsdecode(value):
            return Value(_reject_nul).convert(value, param, ctx)
        return super().convert(value, param, ctx)


def _reject_nul(text: str) -> Path:
    raise ValueError(f"{quoted(text)} contains a NUL character")


FILE: Final = _File()

_MAX_CONNECTIONS: Final = 100
"""Maximum number of connections, for commands that have no option `--concurrency`."""
MAX_ROOMS: Final = 1_000_000
_MAX_SEED: Final = 999_999_999


def value_option(
    name: str,
    metavar: str,
    read: Callable[[str], object],
    text: str,
    *,
    to: str | None = None,
    default: str | None = None,
    hidden: bool = False,
) -> Callable[[F], F]:
    """Return a decorator that adds an option.

    `read` converts the argument to a value. `to` is the name of the parameter that receives the value.
    """
    return click.option(
        *((name,) if to is None else (name, to)),
        metavar=metavar,
        type=Value(read),
        default=default,
        show_default=default is not None,
        hidden=hidden,
        help=text,
    )


json_option: Final = click.option(
    "--json", "as_json", is_flag=True, help="Write only JSON to standard output.  [default: text]"
)
overwrite_option: Final = click.option(
    "--overwrite", is_flag=True, help="Replace an existing file.  [default: report an error]"
)
every_room_option: Final = click.option(
    "--all", "every_room", is_flag=True, help="Show each room.  [default: group rooms with the same change]"
)
policy_option: Final = click.option(
    "--policy",
    metavar="FILE",
    type=FILE,
    help="TOML file with the rules for webhook URLs.  [default: https and http, all hosts, no credentials]",
)


def delivery_options(command: F) -> F:
    """Add `--timeout` and `--allow-private`, for deliveries that are sent to a URL."""
    timeout = value_option(
        "--timeout",
        "TIME",
        read_duration(SHORTEST),
        "Time limit for sending one delivery, such as 10, 500ms or 1m.",
        default="10s",
    )
    allow_private = click.option(
        "--allow-private",
        is_flag=True,
        help="Also send to private addresses, such as 10.0.0.5.  [default: only to public ones and 127.0.0.1]",
    )
    return timeout(allow_private(command))


def read_policy(ctx: Context) -> None:
    """Replace the path in `policy` by the policy in this file, or by the default policy."""
    path: Path | None = ctx.params["policy"]
    ctx.params["policy"] = DEFAULT_POLICY
    if path is None:
        return
    try:
        ctx.params["policy"] = WebhookUrlPolicy.from_toml(path)
    except PolicyFileError as error:
        for problem in error.problems:
            ctx.add_problem(f"{str(path)!r}: {problem}", "--policy")


def seed_option(text: str) -> Callable[[F], F]:
    """Return a decorator that adds `--seed`, the seed of a simulator."""
    return value_option("--seed", "N", whole_number(0, _MAX_SEED), text, default="0")


def api_options(command: F) -> F:
    """Add the options of all commands that use the API. The step `make_client` replaces them with `client`."""
    timeout = value_option(
        "--timeout", "TIME", read_duration(SHORTEST), "Timeout of one attempt: 30, 500ms or 1m.  [default: 30s]"
    )
    return connection_options(timeout(json_option(command)))


CONNECTION_OPTIONS: Final = ("base_url", "allow_insecure_http", "proxy", "verbose")
"""The parameters that `connection_options` adds."""


def connection_options(command: F) -> F:
    """Add the options that say how to reach the API, and what to write about it."""
    base_url = click.option(
        "--base-url",
        metavar="URL",
        help="Base URL of the API.  [default: TELNYX_BASE_URL, or https://api.telnyx.com/v2]",
    )
    allow_insecure_http = click.option(
        "--allow-insecure-http",
        is_flag=True,
        help="Also send the API key over plain http to other machines.  [default: only to this one]",
    )
    proxy = click.option(
        "--proxy",
        metavar="URL",
        help="HTTP proxy for all requests.  [default: HTTPS_PROXY or HTTP_PROXY, unless NO_PROXY names the host]",
    )
    verbose = click.option(
        "-v",
        "--verbose",
        count=True,
        help="Write retries, pauses and outages to standard error; -vv also writes each attempt.  [default: no lines]",
    )
    return base_url(allow_insecure_http(proxy(verbose(quiet_option(command)))))


SHARED_PACING: Final = "AIOROOMS_SHARED_PACING"
"""The environment variable that all commands read. The URL may contain a password, which other users see in options."""


def make_client(ctx: Context, *, with_probe: bool = False) -> None:
    """Create `client` from the options and the environment, with `policy` if the command has that option.

    With `with_probe`, also create `probe_client`, an equal client for requests before the event loop of the run.
    """
    base_url: str | None = ctx.params.pop("base_url")
    allow_insecure_http: bool = ctx.params.pop("allow_insecure_http")
    timeout: float | None = ctx.params.pop("timeout")
    proxy: str | None = ctx.params.pop("proxy")
    verbose: int = ctx.params.pop("verbose")
    is_logged = show_log_lines(verbose)
    key = os.environ.get("TELNYX_API_KEY")
    if not key:
        ctx.add_problem("TELNYX_API_KEY is not set; set it to your API key (`aiorooms demo` needs none)")
    make = functools.partial(
        RoomsClient,
        key or "none",
        base_url=base_url,
        allow_insecure_http=allow_insecure_http,
        max_connections=ctx.params.get("concurrency") or _MAX_CONNECTIONS,
        webhook_url_policy=ctx.params.pop("policy", DEFAULT_POLICY),
        proxy=proxy,
        trust_env=True,
    )
    if timeout is not None:
        make = functools.partial(make, timeout=timeout)
    if (retries := ctx.params.pop("retries", None)) is not None:
        make = functools.partial(make, retry=RetryPolicy(max_attempts=retries + 1))
    shared_pacing: str | None = ctx.params.pop("shared_pacing", None)
    try:
        pacing = Pacing(max_rate=ctx.params.pop("rate", None), shared=_shared(shared_pacing))
        ctx.params["client"] = make(pacing=pacing)
        if with_probe:
            ctx.params["probe_client"] = make(pacing=pacing)
    except ClientSettingsError as error:
        ctx.add_problem(setting_problem(error, base_url=base_url, shared_pacing=shared_pacing))
    except ImportError as error:
        ctx.add_problem(str(error))
    watch(ctx, is_verbose=verbose > 0, is_logged=is_logged)


def _shared(url: str | None) -> RedisPacing | None:
    url = os.environ.get(SHARED_PACING) if url is None else url
    return RedisPacing(url) if url else None


def make_two_clients(ctx: Context) -> None:
    """Create `client` and `probe_client`, because a client belongs to one event loop."""
    make_client(ctx, with_probe=True)


def make_client_and_keep_policy(ctx: Context) -> None:
    """Create `client`, and keep `policy` for the commands that also use it themselves."""
    policy: WebhookUrlPolicy = ctx.params["policy"]
    make_client(ctx)
    ctx.params["policy"] = policy


def check_new_file(ctx: Context, name: str, path: Path | None, *, source: Path | None = None) -> None:
    """Record a problem if `path` can't become a new file.

    That is so if it is not a regular file, if it is the input file `source`, or if it exists and `--overwrite` was not
    given. `path` is None if it is invalid anyway.
    """
    overwrite: bool = ctx.params.pop("overwrite")
    try:
        status = None if path is None else path.stat()
    except OSError:
        return  # there is no such file; or else writing it fails too, and reports the reason
    if path is None or status is None:
        return
    if (kind := kind_of_file(status.st_mode)) is not None:
        ctx.add_problem(f"{quoted(str(path))} is {kind}; give another file", name)
    elif source is not None and _is_same(path, source):
        ctx.add_problem(f"{quoted(str(path))} is also the input; give another file", name)
    elif not overwrite:
        ctx.add_problem(f"{quoted(str(path))} already exists; give another file, or --overwrite", name)


def _is_same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False  # reading the input fails too, and reports the reason
