"""The `RoomsClient` class, and how it reads its settings from arguments and environment variables."""

import copy
import os
import warnings
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, Unpack, cast

import aiohttp
from aiohttp.helpers import netrc_from_env
from yarl import URL

from ._checks import check_at_least, check_instance, setting_error, wrong_type
from ._http.attempts import Sender
from ._http.call_settings import CallOptions, CallSettings
from ._http.deadlines import TimeLimits, Timeout, client_timeout
from ._http.proxy import find_proxy
from ._http.retry import RetryPolicy
from ._http.secret import ApiKey, Hidden
from ._pacing import Pacer, Pacing, PacingSnapshot
from ._text import quoted
from ._version import __version__
from ._webhook_url import DEFAULT_POLICY, WebhookUrlPolicy, check_webhook_url, is_loopback
from .errors import ClientSettingsError
from .resources._calls import checked_options
from .resources._room_requests import RoomRequests
from .resources.rooms import Rooms
from .telemetry import OnEvent
from .telemetry._log import level_in_environment, log_to_stderr
from .telemetry._telemetry import Telemetry

__all__ = ["BASE_URL", "ClientPacing", "RoomsClient", "telemetry_of"]

BASE_URL: Final = "https://api.telnyx.com/v2"

_BASE_URL_POLICY: Final = WebhookUrlPolicy(schemes=("https", "http"))

_INVALID_BASE_URL: Final = ("bad_characters", "bad_host", "bad_port", "ambiguous_url", "too_long")
"""The codes of webhook URL problems that also make a base URL invalid. `_base_url` makes all further checks itself."""

_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, sock_connect=10)


class ClientPacing:
    """What a client knows about the rate limit, available as `client.pacing`."""

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer

    def snapshot(self) -> PacingSnapshot:
        """Return what the client knows about the rate limit now, for progress bars, logs and metrics."""
        return self._pacer.snapshot()


class RoomsClient:
    """A client for the Telnyx Video Rooms API.

    Create one client and share it, because all calls of a client use the same connections and the same estimate of the
    rate limit. Use the client with `async with`, or call `close()` at the end. All methods can be called concurrently.

    The client can be created outside an event loop. It belongs to the event loop in which it is first used, and raises
    `ClientStateError` in any other event loop.
    """

    rooms: Rooms
    """The operations on rooms."""
    pacing: ClientPacing
    """The state of the rate limit: `client.pacing.snapshot()`."""

    _base_url: str = ""  # the repr of a client needs it even if its settings were invalid

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        timeout: Timeout = _TIMEOUT,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        pacing: Pacing = Pacing(),  # noqa: B008 - frozen
        max_connections: int = 100,
        max_response_size: int = 64 * 1024 * 1024,
        webhook_url_policy: WebhookUrlPolicy = DEFAULT_POLICY,
        session: aiohttp.ClientSession | None = None,
        allow_insecure_http: bool = False,
        on_event: OnEvent | None = None,
        deadline: float | None = None,
        extra_headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
        trust_env: bool = False,
    ) -> None:
        """Check the settings. No connection is opened before the first call.

        - `api_key`: defaults to `TELNYX_API_KEY` from the environment. The key never appears in a repr, log or error.
        - `base_url`: defaults to `TELNYX_BASE_URL` from the environment, or else to `https://api.telnyx.com/v2`. Plain
          http would send the API key unencrypted, so it is accepted only for `localhost` and loopback addresses, or
          with `allow_insecure_http=True`.
        - `timeout`: the time limit of one attempt, a number of seconds above 0 or an `aiohttp.ClientTimeout`. Defaults
          to 30 s, of which connecting may take at most 10 s.
        - `retry`: whether and when a failed attempt is retried.
        - `pacing`: how to stay within the server's rate limit, or within a lower limit that you set.
        - `max_connections`: maximum number of requests in flight, 1 or more. Further calls queue.
        - `max_response_size`: maximum size of an answer in bytes, after decompression. The built-in limits are 64 MiB
          for a page of a list and 8 MiB for a single room, and this setting can only lower them.
        - `webhook_url_policy`: the rules that decide which webhook and failover URLs may be sent.
        - `session`: your own `aiohttp.ClientSession`, for certificates or tracing. The client does not close
          the session, ignores its default timeout and `raise_for_status`, and does not follow redirects. With your own
          session, aiohttp itself resends a GET or DELETE if the server disconnects. If the server had already carried
          out the first DELETE, the call raises `NotFoundError`. If a proxy answers a request twice, and the second
          answer is an error that arrives while the connection is idle, aiohttp may take it for the next answer.
        - `on_event`: a function that is called with each event of `aiorooms.telemetry`, for metrics and traces. It must
          not block. What it raises is logged, and never reaches a call.

        - `deadline`: seconds for a whole call, above 0: all attempts, waits and read-backs. None means no limit. See
          `CallOptions`.
        - `extra_headers`: headers for every request, such as `User-Agent`.
        - `proxy`: the URL of an HTTP proxy, such as `http://user:password@proxy.example.com:3128`, for all requests.
        - `trust_env`: whether the environment variables `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` choose
          the proxy, read when the client is created. `proxy` takes precedence. Loopback addresses need no proxy.
          `proxy` and `trust_env` can't be combined with `session`: configure the session instead.

        `timeout`, `retry`, `deadline` and `extra_headers` can be replaced for each call, or with `with_options` for
        several. If `AIOROOMS_LOG` is set to `debug`, `info` or `warning`, log lines are written to standard error.

        Raises `ClientSettingsError`, which is also a `ValueError`, if a setting is missing or invalid.
        """
        key = ApiKey(os.environ.get("TELNYX_API_KEY", "") if api_key is None else api_key)
        source = "TELNYX_API_KEY" if api_key is None else "api_key"
        # Some tools show the local variables of a traceback, so the key must not be one of them. (Deleting the argument
        # would make cgitb fail.)
        api_key = None
        hidden_proxy = Hidden(proxy)
        has_proxy, proxy = proxy is not None, None
        _check_api_key(key, source)
        check_at_least(1, "max_connections", max_connections)
        check_at_least(1, "max_response_size", max_response_size)
        check_instance(RetryPolicy, "retry", retry)
        check_instance(Pacing, "pacing", pacing)
        check_instance(WebhookUrlPolicy, "webhook_url_policy", webhook_url_policy)
        if session is not None:
            check_instance(aiohttp.ClientSession, "session", session)
        if on_event is not None and not callable(cast("object", on_event)):
            raise wrong_type("on_event", on_event, "a function or None")
        if (level := level_in_environment()) is not None:
            log_to_stderr(level)
        attempt_timeout = client_timeout(cast("Timeout | None", timeout))
        if attempt_timeout is None:
            raise setting_error("timeout", "is None", "give a number of seconds above 0, or an aiohttp.ClientTimeout")
        settings = CallSettings(limits=TimeLimits.of(attempt_timeout), retry=retry).with_options(
            {"deadline": deadline, "extra_headers": extra_headers}
        )
        self._base_url = _base_url(base_url, allow_insecure_http=allow_insecure_http)
        url = URL(self._base_url)
        if session is not None:
            if has_proxy or trust_env:
                wrong = "can't be combined with a session of your own"
                raise setting_error("proxy" if has_proxy else "trust_env", wrong, "set it for the session")
            _check_no_other_credentials(session, url.host or "")
        sender = Sender(
            key=key,
            base_url=self._base_url,
            settings=settings,
            pacing=pacing,
            max_connections=max_connections,
            max_response_size=max_response_size,
            session=session,
            proxy=find_proxy(url, hidden_proxy, trust_env=trust_env),
            user_agent=f"aiorooms/{__version__} aiohttp/{aiohttp.__version__}",
            telemetry=Telemetry(on_event),
        )
        self._assemble(sender, RoomRequests(webhook_url_policy), None)
        self.pacing = ClientPacing(sender.pacer)

    def _assemble(self, sender: Sender, requests: RoomRequests, origin: "RoomsClient | None") -> None:
        self._sender = sender
        self._requests = requests
        self._origin = origin
        """The client that a view was made from; None for a client that owns its connections."""
        self.rooms = Rooms(sender, requests)

    @property
    def base_url(self) -> str:
        """The base URL of the API, without a trailing slash."""
        return self._base_url

    @property
    def webhook_url_policy(self) -> WebhookUrlPolicy:
        """The policy for webhook and failover URLs."""
        return self._requests.policy

    def with_options(
        self, *, webhook_url_policy: WebhookUrlPolicy | None = None, **options: Unpack[CallOptions]
    ) -> "RoomsClient":
        """Return a view of this client with other settings, over the same connections and with the same pacing.

        `options` are those of a call, such as `deadline=2`, and become the view's own defaults. A view is cheap: make
        one for a web request, with its `X-Request-Id` in `extra_headers`. Closing the client ends its views, and
        closing a view does nothing.

        Raises `ClientSettingsError` if a setting is invalid.
        """
        checked = checked_options("with_options", options)
        requests = self._requests
        if webhook_url_policy is not None:
            check_instance(WebhookUrlPolicy, "webhook_url_policy", webhook_url_policy)
            requests = requests.with_policy(webhook_url_policy)
        sender = self._sender.with_settings(self._sender.settings.with_options(checked))
        view = copy.copy(self)
        view._assemble(sender, requests, self._origin or self)  # noqa: SLF001
        return view

    def __repr__(self) -> str:
        return f"RoomsClient(base_url={self._base_url!r})"

    if not TYPE_CHECKING:  # so that type checkers reject `with RoomsClient()`

        def __enter__(self) -> None:
            raise TypeError("RoomsClient is an async context manager; use `async with RoomsClient(...) as client:`")

        def __exit__(self, *_: object) -> None:
            pass

    async def __aenter__(self) -> Self:
        self._sender.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. Unfinished calls raise `ClientStateError`. Calling `close` again does nothing.

        The connections of a view belong to the client that it was made from, so closing the view does nothing.
        """
        if self._origin is None:
            await self._sender.close()

    def __del__(self) -> None:
        # `_sender` does not exist if `__init__` raised an error.
        sender = getattr(self, "_sender", None)
        if sender is not None and sender.is_open and self._origin is None:
            warnings.warn(
                f"unclosed {self!r}: use `async with` or call `await client.close()`",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )


def telemetry_of(client: RoomsClient) -> Telemetry:
    """Return what reports the events of a client and its views, for code that watches one client only."""
    return client._sender.telemetry  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def awaits_first_answer(client: RoomsClient) -> bool:
    """Return whether the client has begun a request, and has never got an answer."""
    pacer = client._sender.pacer  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    now = pacer.snapshot()
    return now.in_flight + now.waiting > 0 and not pacer.accepted + pacer.rate_limited


def account_of(client: RoomsClient) -> str:
    """Return a text that identifies the API key and the base URL of a client, and from which neither can be found."""
    return client._sender.account  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def _check_api_key(key: ApiKey, source: str) -> None:
    """Raise a `ClientSettingsError` if the key, which came from `source`, is missing or invalid."""
    # No error may contain the key itself.
    if not issubclass(key.given_type, str):
        raise setting_error("api_key", f"is of type {key.given_type.__name__}", "give a str")
    if key.is_empty:
        raise ClientSettingsError(
            "there is no API key",
            setting="api_key",
            wrong="is missing",
            hint="give api_key=... or set TELNYX_API_KEY",
        )
    if key.has_scheme:
        wrong = "begins with 'Bearer '"
        raise ClientSettingsError(
            f"{source} {wrong}", setting="api_key", wrong=wrong, hint="give the key alone, the client adds the rest"
        )
    # The most common mistake is a line break at the end of the file that contains the key.
    if not key.is_valid:
        wrong = "contains spaces, line breaks or other invalid characters"
        raise ClientSettingsError(
            f"{source} {wrong}", setting="api_key", wrong=wrong, hint="give the key and nothing else"
        )


def _check_no_other_credentials(session: aiohttp.ClientSession, host: str) -> None:
    """Raise a `ClientSettingsError` if the session would send its own credentials to the API."""
    if session.auth is not None:
        wrong = "has its own `auth`, which conflicts with the API key"
        raise setting_error("session", wrong, "give a session without `auth`")
    # aiohttp 3.12 sends the password from netrc in place of the key, and 3.14 fails each call.
    if session.trust_env and _is_in_netrc(host):
        wrong = f"has `trust_env` set, and netrc has credentials for {host}, which conflict with the API key"
        hint = "give a session with trust_env=False, or remove the entry of that host (or `default`) from netrc"
        raise setting_error("session", wrong, hint)


def _is_in_netrc(host: str) -> bool:
    # Not in the function that raises: some tools would show the passwords among its local variables.
    entries = netrc_from_env()
    return entries is not None and entries.authenticators(host) is not None


def _base_url(given: str | None, *, allow_insecure_http: bool) -> str:
    text = given if given is not None else os.environ.get("TELNYX_BASE_URL") or BASE_URL

    if not isinstance(cast("object", text), str):
        raise wrong_type("base_url", text, "a str")

    def error(wrong: str, hint: str) -> ClientSettingsError:
        if "@" in text:  # it may contain a password
            return setting_error("base_url", wrong, hint)
        return setting_error("base_url", f"{quoted(text)} {wrong}", hint, text)

    # Check the text before yarl parses it. yarl removes tabs and line breaks, so the key could go to a different host.
    problems = check_webhook_url(text, _BASE_URL_POLICY)
    if invalid := [problem for problem in problems if problem.code in _INVALID_BASE_URL]:
        wrong, _, hint = invalid[0].message.partition("; ")
        raise setting_error("base_url", wrong, hint)
    try:
        url = URL(text)
        host = url.host
    except (ValueError, IndexError) as unreadable:  # yarl raises both
        raise error(f"can't be parsed: {unreadable}", f"give a URL such as {BASE_URL}") from None
    if url.user is not None or url.password is not None:
        raise setting_error("base_url", "contains credentials", "remove them, and give the key as api_key")
    if url.scheme not in ("http", "https") and "://" not in text and "." in text.partition("/")[0]:
        scheme = "http" if is_loopback(text.partition("/")[0].partition(":")[0]) else "https"
        # The text may contain a password.
        hint = f"give one such as {BASE_URL}" if "@" in text else f"did you mean {quoted(f'{scheme}://{text}')}?"
        raise error("has no scheme", hint)
    if url.scheme not in ("http", "https") or not host:
        raise error("is not an absolute http or https URL", f"give one such as {BASE_URL}")
    if url.query_string or url.fragment:
        raise error("has a query or a fragment", "give only scheme, host and path")
    official = URL(BASE_URL)
    if host == official.host and url.path.rstrip("/") != official.path:
        raise error("does not have the path of the API", f"did you mean {quoted(BASE_URL)}?")
    if url.scheme == "http" and not allow_insecure_http and not is_loopback(host):
        insecure = error("would send the API key unencrypted", "use https, or allow_insecure_http=True")
        insecure.reason = "insecure_http"
        raise insecure
    return str(url).rstrip("/")
