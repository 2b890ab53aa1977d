"""Send one event to one URL, over a connection to addresses that were checked."""

import asyncio
import base64
import json
import math
import re
import socket
import ssl
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal
from urllib.parse import unquote_to_bytes

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import Connection
from yarl import URL

from .._text import excerpt
from .._version import __version__
from .._webhook_url import masked_url
from ._signing import EventSigner
from ._verdicts import TlsInfo

__all__ = ["Attempt"]


class _Checked(AbstractResolver):
    """Resolves every host to the addresses that were checked."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=_family(address), proto=0, flags=0)
            for address in self._addresses
        ]

    async def close(self) -> None: ...


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class _Connector(aiohttp.TCPConnector):
    """Remembers what is known about its only connection."""

    tls: TlsInfo | None = None
    transport: asyncio.Transport | None = None

    async def connect(self, *args: Any, **kwargs: Any) -> Connection:  # noqa: ANN401 - those of `BaseConnector`
        """Return the connection."""
        connection = await super().connect(*args, **kwargs)
        self.transport = transport = connection.transport
        secure: ssl.SSLObject | None = None if transport is None else transport.get_extra_info("ssl_object")
        self.tls = None if secure is None else _tls_info(secure)
        return connection


class Attempt:
    """Sends one event, and keeps what is known even if that fails."""

    def __init__(
        self,
        url: str,
        addresses: Sequence[str],
        timeout: float,
        signer: EventSigner | None,
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        self.status = 0
        self.location = ""
        self.tls: TlsInfo | None = None
        self.connect_seconds: float | None = None
        self._url = url
        self._addresses = addresses
        self._timeout = timeout
        self._signer = signer
        self._ssl: ssl.SSLContext | Literal[True] = ssl_context or True

    async def send(self) -> None:
        """Send the event, and set the attributes. Raises as aiohttp does."""
        body = _event(self._url)
        now = int(time.time())
        headers = {"telnyx-timestamp": str(now)} if self._signer is None else dict(self._signer.headers(body, now))
        if (authorization := _authorization(self._url)) is not None:
            headers["Authorization"] = authorization
        connector = _Connector(
            resolver=_Checked(self._addresses), use_dns_cache=False, force_close=True, ssl=self._ssl, limit=1
        )
        began = time.monotonic()
        tracing = aiohttp.TraceConfig()

        async def connected(*_: object) -> None:
            self.connect_seconds = time.monotonic() - began

        tracing.on_connection_create_end.append(connected)
        async with aiohttp.ClientSession(
            connector=connector,
            # By default, aiohttp rounds up longer timeouts to whole seconds.
            timeout=aiohttp.ClientTimeout(total=self._timeout, ceil_threshold=math.inf),
            auto_decompress=False,
            trace_configs=[tracing],
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Content-Type": "application/json", "User-Agent": f"aiorooms/{__version__} (webhook probe)"},
        ) as session:
            try:
                async with session.post(
                    URL(_CREDENTIALS.sub(r"\1", self._url), encoded=True),
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                ) as response:
                    self.status = response.status
                    self.location = response.headers.get("Location", "")
                    response.close()  # the body is not needed, and may be endless
            finally:
                self.tls = connector.tls
                # Closing TLS waits for the receiver, for up to 30 s. There is nothing left to wait for.
                if connector.transport is not None:
                    connector.transport.abort()


_CREDENTIALS: Final = re.compile(r"^([^/?#]*//)[^/?#]*@")


def _authorization(url: str) -> str | None:
    """Return the header for a URL's user name and password; None if it has none.

    aiohttp would raise an error that contains them if they are not Latin-1.
    """
    parsed = URL(url, encoded=True)
    if parsed.raw_user is None and parsed.raw_password is None:
        return None
    user, password = map(unquote_to_bytes, (parsed.raw_user or "", parsed.raw_password or ""))
    return f"Basic {base64.b64encode(user + b':' + password).decode()}"


def _event(url: str) -> bytes:
    """Return the body of an event that can't be taken for a real one."""
    event: dict[str, object] = {
        "record_type": "event",
        "event_type": "aiorooms.probe",
        "id": str(uuid.uuid4()),
        "occurred_at": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "payload": {},
    }
    return json.dumps({"data": event, "meta": {"attempt": 1, "delivered_to": masked_url(url)}}).encode()


def _tls_info(secure: ssl.SSLObject) -> TlsInfo | None:
    certificate: dict[str, Any] | None = secure.getpeercert()
    if not certificate:
        return None  # the context does not verify certificates
    names = [str(value) for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    subject = _name(certificate.get("subject")) or next(iter(names), "")
    return TlsInfo(
        version=secure.version() or "",
        subject=subject,
        chain=(subject, *(_authorities(secure) or [_name(certificate.get("issuer"))])),
        expires_at=datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC),
    )


def _authorities(secure: ssl.SSLObject) -> list[str]:
    """Return the names of the authorities in the verified chain; none before Python 3.13."""
    verified_chain: Callable[[], Sequence[bytes]] | None = getattr(secure, "get_verified_chain", None)
    names: list[str] = []
    for certificate in () if verified_chain is None else verified_chain()[1:]:
        # A context is the only public way of `ssl` to read a certificate.
        reader = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        reader.load_verify_locations(cadata=certificate)
        names += [_name(read.get("subject")) for read in reader.get_ca_certs()]
    return names


def _name(parts: Any) -> str:  # noqa: ANN401 - the nested tuples of `getpeercert`
    found = {key: value for part in parts or () for key, value in part}
    return excerpt(str(found.get("commonName") or found.get("organizationName") or ""), 200)
