"""The results of probes, and the verdict on what a receiver did. Pure."""

import os
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

import aiohttp
import attrs

from .._text import excerpt
from .._webhook_url import masked_repr, masked_url

__all__ = ["ProbeCause", "ProbeReport", "ProbeResult", "ProbeVerdict", "TlsInfo", "judge_answer", "judge_failure"]

ProbeVerdict: TypeAlias = Literal["ok", "reachable", "failed"]
"""`ok`: the receiver answered 2xx. `reachable`: it answered 400, 401 or 403, as one does that verifies signatures.
`failed`: the event did not arrive, or was answered with another status."""

ProbeCause: TypeAlias = Literal[
    "invalid_url", "dns", "private_address", "connect", "tls", "timeout", "closed", "redirect", "status"
]
"""Why a probe failed.

- `invalid_url`: no receiver can have this URL, so it was not probed.
- `dns`: the host has no address.
- `private_address`: the public internet can't reach the host, so there was no attempt to connect.
- `connect`: no connection.
- `tls`: the encryption failed, or the certificate is not valid.
- `timeout`: no connection or no answer within the time limit.
- `closed`: the connection was closed without a valid HTTP answer.
- `redirect`: 3xx.
- `status`: another status that is not 2xx, 400, 401 or 403."""


@attrs.frozen(kw_only=True)
class TlsInfo:
    """What is known about an encrypted connection. The certificate was verified."""

    version: str
    """The version of the protocol, such as `TLSv1.3`."""
    subject: str
    """The common name of the certificate, or its first DNS name. It is also the first name of the chain."""
    chain: Sequence[str]
    """The common names of the certificate, its issuer, and so on up to the root. Before Python 3.13, only the first
    two are known."""
    expires_at: datetime
    """When the certificate expires, in UTC."""

    def days_left(self, now: datetime | None = None) -> int:
        """Return the number of whole days until the certificate expires."""
        return (self.expires_at - (now or datetime.now(UTC))).days


@attrs.frozen(kw_only=True)
class ProbeResult:
    """What happened to the event that was sent to one URL."""

    url: str = attrs.field(repr=masked_repr)
    """The URL as it is in the settings. It may contain a password; `message` and the repr do not."""
    verdict: ProbeVerdict
    cause: ProbeCause | None = None
    """Why the probe failed; None if it did not."""
    message: str
    """What happened, and if the probe failed, what to do, in one line."""
    status: int | None = None
    """The status of the answer; None if there was none."""
    addresses: Sequence[str] = ()
    """The addresses of the host."""
    tls: TlsInfo | None = None
    """None if there was no connection, if it is not encrypted, or if `ssl_context` does not verify certificates."""
    dns_seconds: float | None = None
    """Duration of the DNS lookup; None if there was none."""
    connect_seconds: float | None = None
    """Duration of connecting, including TLS; None if there was no connection."""
    seconds: float = 0.0
    """Duration of the whole probe."""


@attrs.frozen(kw_only=True)
class ProbeReport:
    """The results for the two URLs of a room."""

    url: ProbeResult | None
    """None if there is no webhook URL."""
    failover_url: ProbeResult | None
    """None if there is no failover URL."""

    @property
    def results(self) -> Sequence[ProbeResult]:
        """The results of the URLs that were probed, the webhook URL first."""
        return tuple(result for result in (self.url, self.failover_url) if result is not None)

    @property
    def has_failed(self) -> bool:
        """Whether one of the two probes failed."""
        return any(result.verdict == "failed" for result in self.results)


_REACHABLE: Final = (400, 401, 403)

_ADVICE: Final[Mapping[int, str]] = {404: "check the path", 405: "make the receiver accept POST at this path"}

_MAX_SHOWN: Final = 200
"""Maximum length of a text from outside in a message."""


def judge_failure(error: Exception, host: str, timeout: float, *, connected: bool) -> tuple[ProbeCause, str]:
    """Return the cause of a failure, and the message. `connected` says whether there was a connection, TLS included."""
    match error:
        case TimeoutError() if connected:
            text = f"no answer within {timeout:g} s after the event was sent"
            return "timeout", f"{text}; make the receiver answer faster, or raise the timeout"
        case TimeoutError():
            return "timeout", f"can't connect to {host} within {timeout:g} s; check port and firewall"
        case aiohttp.ClientConnectorCertificateError() | ssl.SSLCertVerificationError():
            why = getattr(error, "certificate_error", error)
            reason = getattr(why, "verify_message", "") or str(why)
            return "tls", f"the certificate of {host} is not valid: {_one_line(reason)}; renew or replace it"
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return "tls", f"TLS with {host} failed: {_one_line(_reason(error))}; check the server's TLS settings"
        case aiohttp.ClientConnectorError() if error.ssl is not False and isinstance(error.os_error, ConnectionError):
            if not isinstance(error.os_error, ConnectionRefusedError):
                text = f"{host} closed the connection during TLS; check that this port accepts TLS"
                return "tls", text
            return "connect", f"can't connect to {host}: {_one_line(_reason(error))}; check port and firewall"
        case aiohttp.ClientResponseError() if connected:
            what = _one_line(error.message.partition("\n")[0].rstrip(":"))
            return "closed", f"the receiver did not answer in HTTP ({what}); check that it is a web server"
        case _ if connected:
            return "closed", "the receiver closed the connection without an answer; check its log"
        case _:
            return "connect", f"can't connect to {host}: {_one_line(_reason(error))}; check port and firewall"


def _reason(error: Exception) -> str:
    cause = getattr(error, "os_error", None) or error
    # asyncio puts the address into the message. But the error numbers of TLS are not those of the operating system.
    if isinstance(cause, OSError) and cause.errno is not None and not isinstance(cause, ssl.SSLError):
        return os.strerror(cause.errno)
    return getattr(cause, "strerror", None) or str(cause) or type(error).__name__


def _one_line(text: str) -> str:
    return excerpt(text, _MAX_SHOWN)


def judge_answer(status: int, location: str, *, is_signed: bool) -> tuple[ProbeVerdict, ProbeCause | None, str]:
    """Return the verdict on an answer, the cause if it is a failure, and the message."""
    answered = f"answered {status}"
    if 200 <= status < 300:
        return "ok", None, answered
    if status in _REACHABLE:
        if is_signed:
            return "reachable", None, f"{answered}; check that the receiver has the public key of this signing key"
        return (
            "reachable",
            None,
            f"{answered}, as receivers that verify signatures do, because the event was not signed",
        )
    if 300 <= status < 400:
        to = f" to {_one_line(masked_url(location))!r}" if location else ""
        return (
            "failed",
            "redirect",
            f"{answered}, a redirect{to}; set the final URL, because redirects are not followed",
        )
    advice = "check the receiver's log" if status >= 500 else "a receiver must answer 2xx"
    return "failed", "status", f"{answered}; {_ADVICE.get(status, advice)}"
