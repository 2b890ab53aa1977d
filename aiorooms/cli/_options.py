"""Options and steps that several commands share."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, TypeVar

import click

from .._pacing import Pacing
from .._text import quoted
from .._webhook_url import DEFAULT_POLICY, WebhookUrlPolicy
from ..bulk._files import kind_of_file
from ..client import RoomsClient
from ..errors import ClientSettingsError, PolicyFileError
from ..webhook_config import EventSigner
from ._command import Context, Value
from ._values import read_rate, read_seconds, whole_number
from ._verbose import show_log_lines
from ._watch import quiet_option, watch
from ._words import setting_problem

__all__ = [
    "CONNECTION_OPTIONS",
    "FILE",
    "MAX_FAILURES",
    "MAX_ROOMS",
    "Repeated",
    "api_options",
    "bulk_options",
    "check_force_and_strict",
    "check_new_file",
    "concurrency_option",
    "connection_options",
    "delivery_options",
    "every_room_option",
    "json_option",
    "keep_repeated",
    "make_client",
    "make_client_and_keep_policy",
    "max_failures_option",
    "overwrite_option",
    "policy_option",
    "probe_options",
    "read_key_file",
    "read_policy",
    "read_signer",
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

_MAX_CONCURRENCY: Final = 1000
_MAX_CONNECTIONS: Final = 100
"""Maximum number of connections, for commands that have no option `--concurrency`."""
MAX_FAILURES: Final = 1_000_000
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
concurrency_option: Final = value_option(
    "--concurrency",
    "N",
    whole_number(1, _MAX_CONCURRENCY),
    f"Maximum number of updates in flight, 1 to {_MAX_CONCURRENCY}.",
    default="50",
)


policy_option: Final = click.option(
    "--policy",
    metavar="FILE",
    type=FILE,
    help="TOML file with the rules for webhook URLs.  [default: https and http, all hosts, no credentials]",
)


_MAX_KEY: Final = 4096


def probe_options(command: F) -> F:
    """Add `--allow-private` and `--signing-key`. The step `read_signer` replaces the latter with `signer`."""
    allow_private = click.option(
        "--allow-private",
        is_flag=True,
        help="Also connect to private addresses, such as 127.0.0.1.  [default: report them as failures]",
    )
    signing_key = click.option(
        "--signing-key",
        metavar="FILE",
        type=FILE,
        help="Sign the events with the Ed25519 private key in this file (PEM or base64).  [default: unsigned]",
    )
    return allow_private(signing_key(command))


def delivery_options(command: F) -> F:
    """Add `--timeout` and `--allow-private`, for deliveries that are sent to a URL."""
    timeout = value_option(
        "--timeout", "SECONDS", read_seconds, "Time limit for sending one delivery, in seconds.", default="10"
    )
    allow_private = click.option(
        "--allow-private",
        is_flag=True,
        help="Also send to private addresses, such as 10.0.0.5.  [default: only to public ones and 127.0.0.1]",
    )
    return timeout(allow_private(command))


def read_signer(ctx: Context) -> None:
    """Set `signer` from the file `signing_key`, or to None."""
    path: Path | None = ctx.params.pop("signing_key")
    ctx.params["signer"] = None if path is None else read_key_file(ctx, path, "--signing-key")


def read_key_file(ctx: Context, path: Path, name: str) -> EventSigner | None:
    """Return a signer with the key in a file. If there is none, record a problem of the option `name`."""
    try:
        with path.open("rb") as file:
            # No variable holds the key, because a report of an error may show the variables.
            return EventSigner(file.read(_MAX_KEY).decode("ascii", "replace"))
    except OSError as error:
        ctx.add_problem(f"{str(path)!r} can't be read: {error.strerror or error}", name)
    except ClientSettingsError as error:
        ctx.add_problem(f"{str(path)!r} {error.wrong}; {error.hint}", name)
    return None


class Repeated(NamedTuple):
    """Options that were given, as words of a command line. The commands that the output suggests repeat them."""

    server: tuple[str, ...]
    """`--base-url`, `--allow-insecure-http`, and `--proxy` if it contains no password."""
    policy: tuple[str, ...]

    @classmethod
    def of(
        cls, base_url: str | None, policy: Path | None, *, allow_insecure_http: bool, proxy: str | None = None
    ) -> Self:
        """Return the words for these values of the options; None if an option was not given."""
        return cls(
            (
                *(() if base_url is None else ("--base-url", base_url)),
                *(("--allow-insecure-http",) if allow_insecure_http else ()),
                *(() if proxy is None or "@" in proxy else ("--proxy", proxy)),
            ),
            () if policy is None else ("--policy", str(policy)),
        )


def keep_repeated(ctx: Context) -> None:
    """Set `repeated`. This step comes before those that replace the options."""
    params = ctx.params
    params["repeated"] = Repeated.of(
        params["base_url"],
        params.get("policy"),
        allow_insecure_http=params["allow_insecure_http"],
        proxy=params["proxy"],
    )


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


def max_failures_option(more: str = "") -> Callable[[F], F]:
    """Return a decorator that adds `--max-failures`. `more` is appended to the help text."""
    return value_option(
        "--max-failures",
        "N",
        whole_number(1, MAX_FAILURES),
        f"Start no new update after N that failed, are uncertain or could not be sent.{more}  [default: no limit]",
    )


def seed_option(text: str) -> Callable[[F], F]:
    """Return a decorator that adds `--seed`, the seed of a simulator."""
    return value_option("--seed", "N", whole_number(0, _MAX_SEED), text, default="0")


def api_options(command: F) -> F:
    """Add the options of all commands that use the API. The step `make_client` replaces them with `client`."""
    timeout = value_option("--timeout", "SECONDS", read_seconds, "Timeout of one attempt, in seconds.  [default: 30]")
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


def bulk_options(command: F) -> F:
    """Add the options that `apply` and `resume` share."""
    options = (
        click.option(
            "--force",
            is_flag=True,
            help="Also change rooms with conflicts.  [default: leave them unchanged]",
        ),
        click.option(
            "--strict",
            is_flag=True,
            help="Treat any modification by someone else as a conflict.  [default: only that of a planned field]",
        ),
        max_failures_option(),
        policy_option,
        concurrency_option,
        value_option(
            "--rate",
            "N",
            read_rate,
            "Maximum number of requests per second, at least 0.001. The server may allow fewer.  [default: no limit]",
        ),
        click.option(
            "--no-lock",
            is_flag=True,
            help="Don't lock the journal and the plan. Only for file systems without locks.  [default: lock them]",
        ),
        click.option(
            "--yes", is_flag=True, help="Don't ask for confirmation.  [default: ask if more than one room changes]"
        ),
        api_options,
    )
    for option in reversed(options):
        command = option(command)
    return command


def make_client(ctx: Context) -> None:
    """Create `client` from the options and the environment, with `policy` if the command has that option."""
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
        pacing=Pacing(max_rate=ctx.params.pop("rate", None)),
        webhook_url_policy=ctx.params.pop("policy", DEFAULT_POLICY),
        proxy=proxy,
        trust_env=True,
    )
    try:
        ctx.params["client"] = make() if timeout is None else make(timeout=timeout)
    except ClientSettingsError as error:
        ctx.add_problem(setting_problem(error, base_url=base_url))
    watch(ctx, is_verbose=verbose > 0, is_logged=is_logged)


def make_client_and_keep_policy(ctx: Context) -> None:
    """Create `client`, and keep `policy` for the commands that also use it themselves."""
    policy: WebhookUrlPolicy = ctx.params["policy"]
    make_client(ctx)
    ctx.params["policy"] = policy


def check_force_and_strict(ctx: Context) -> None:
    """Record a problem if both `--force` and `--strict` were given."""
    if ctx.params["force"] and ctx.params["strict"]:
        ctx.add_problem("give only one of --force and --strict")


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
