"""Verify that a webhook is genuine: its Ed25519 signature over the timestamp, a `|`, and the raw bytes of the body.

A webhook has two headers: `telnyx-signature-ed25519`, the base64 text of the 64 bytes of the signature, and
`telnyx-timestamp`, in Unix seconds. Everything fails closed: without a key there is no verifier, and a webhook that is
not proved to be genuine raises an error.

Example: a body that was received is parsed and written again as JSON, with other spaces. Its signature is then wrong,
because other bytes were signed. So a verifier takes only the raw bytes, and parses them only after the check.
"""

import base64
import binascii
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias, cast

from .._checks import check_positive, setting_error, wrong_type
from ..errors import WebhookVerificationError
from ._events import Event, parse_unverified_event

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:  # pragma: no cover - the tests install it
    raise ImportError("aiorooms.webhooks needs cryptography; install it: pip install 'aiorooms[webhooks]'") from None

__all__ = ["WEBHOOK_HEADERS", "Headers", "WebhookVerifier", "header_values", "pairs_of"]

Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]]
"""The headers of a request: a mapping, such as those of aiohttp, Starlette and Django, or pairs, as in ASGI."""

Pairs: TypeAlias = Sequence[tuple[str | bytes, str | bytes]]
"""Headers as pairs of name and value."""

_SIGNATURE: Final = "telnyx-signature-ed25519"
_TIMESTAMP: Final = "telnyx-timestamp"
WEBHOOK_HEADERS: Final = (_SIGNATURE, _TIMESTAMP, "content-encoding")
"""The headers of a delivery that a receiver reads, in lower case."""

_VARIABLE: Final = "TELNYX_PUBLIC_KEY"

_SIGNATURE_LENGTH: Final = 64
_KEY_LENGTH: Final = 32

_SECONDS: Final = re.compile(r"[0-9]{1,12}", re.ASCII)


class WebhookVerifier:
    """Verifies webhooks with the public key of the account, and returns their events.

    - `public_keys`: the base64 text of a public key, or several of them while the key is being rotated: a webhook is
      genuine if one of them fits. Defaults to `TELNYX_PUBLIC_KEY` from the environment, which may contain several keys,
      separated by spaces or commas.
    - `tolerance`: how many seconds, above 0, the timestamp may be in the past or in the future. An older webhook may
      be a genuine one that an attacker sends again.

    Raises `ClientSettingsError` if there is no key, or if a setting is invalid.
    """

    def __init__(
        self,
        public_keys: str | Sequence[str] | None = None,
        *,
        tolerance: float = 300,
        clock: Callable[[], float] = time.time,
    ) -> None:
        name = "public_keys"
        if public_keys is None:
            name, public_keys = _VARIABLE, os.environ.get(_VARIABLE, "")
        given = cast("object", public_keys)
        if not isinstance(given, Sequence) or isinstance(given, bytes):
            raise wrong_type(name, given, "the base64 text of a public key, or several")
        texts = re.split(r"[\s,]+", public_keys.strip()) if isinstance(public_keys, str) else [*public_keys]
        texts = [text for text in texts if text != ""]
        if not texts:
            wrong, hint = "is missing", f"give public_keys=... or set {_VARIABLE}; the portal shows the key"
            raise setting_error(name, wrong, hint)
        self._keys = [_read_key(name, text) for text in texts]
        check_positive("tolerance", tolerance)
        if math.isinf(tolerance):
            raise setting_error("tolerance", "is infinite", "give a number of seconds above 0")
        self._tolerance = tolerance
        self._clock = clock

    def verify(self, headers: Headers, body: bytes) -> None:
        """Raise `WebhookVerificationError` unless the webhook is genuine and its timestamp is within the tolerance.

        `body` is the raw body, as it was received. Raises `TypeError` if it is not `bytes`.
        """
        if not isinstance(cast("object", body), (bytes, bytearray, memoryview)):
            text = f"body is of type {type(body).__name__}; give the raw bytes as received, not text or parsed JSON"
            raise TypeError(text)
        signature, timestamp = _signed(pairs_of(headers))
        message = timestamp.encode() + b"|" + body
        if not any(_fits(key, signature, message) for key in self._keys):
            raise WebhookVerificationError(reason="wrong_signature")
        age = self._clock() - int(timestamp)
        if age > self._tolerance:
            raise WebhookVerificationError(reason="too_old")
        if age < -self._tolerance:
            raise WebhookVerificationError(reason="in_the_future")

    def event(self, headers: Headers, body: bytes) -> Event:
        """Return the event of a genuine webhook.

        An event of an unknown type is an `UnknownEvent`. Raises `WebhookVerificationError` if the webhook is not
        genuine, or if its body is not an event.
        """
        self.verify(headers, body)
        return parse_unverified_event(bytes(body))


def _read_key(name: str, text: object) -> Ed25519PublicKey:
    if not isinstance(text, str):
        raise wrong_type(name, text, "the base64 text of a public key, or several")
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY_LENGTH:
        hint = "give the base64 text of its 32 bytes, as the portal shows it"
        raise setting_error(name, "is not an Ed25519 public key", hint)
    return Ed25519PublicKey.from_public_bytes(key)


def _signed(headers: Pairs) -> tuple[bytes, str]:
    """Return the signature and the timestamp. Raises `WebhookVerificationError` if one is missing or malformed."""
    signatures, timestamps = header_values(headers, _SIGNATURE), header_values(headers, _TIMESTAMP)
    if not (signatures and timestamps):
        raise WebhookVerificationError(reason="missing_header")
    if len(signatures) > 1 or len(timestamps) > 1:
        raise WebhookVerificationError(reason="duplicate_header")
    timestamp = timestamps[0]
    try:
        signature = base64.b64decode(signatures[0], validate=True)
    except (binascii.Error, ValueError):
        signature = b""
    if len(signature) != _SIGNATURE_LENGTH or not _SECONDS.fullmatch(timestamp):
        raise WebhookVerificationError(reason="malformed_header")
    return signature, timestamp


def pairs_of(headers: Headers) -> Pairs:
    """Return headers as pairs."""
    return [*(cast("Mapping[str, str]", headers).items() if isinstance(headers, Mapping) else headers)]


def header_values(headers: Pairs, name: str) -> list[str]:
    """Return the values of all headers with a name in lower case."""
    names = (name, name.encode())
    return [
        value.decode("latin-1") if isinstance(value, bytes) else value
        for present, value in headers
        if present.lower() in names
    ]


def _fits(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True
