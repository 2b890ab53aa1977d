"""Sign an event as the API does: Ed25519 over the timestamp, a `|`, and the bytes of the body."""

import base64
import binascii
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .._checks import setting_error

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["EventSigner"]


class EventSigner:
    """Signs events with a private Ed25519 key, so that a receiver that verifies signatures accepts them.

    `key` is the base64 text of the 32 bytes of the private key. The receiver needs the public key that belongs to it.
    Needs the extra `webhooks`. Raises `ClientSettingsError` if the extra is missing or the key is invalid. The error
    does not contain the key.
    """

    def __init__(self, key: str) -> None:
        try:
            self._key = _read_key(key)
        finally:
            del key  # an error report may show the variables of this frame

    def __repr__(self) -> str:
        return "EventSigner(...)"

    def headers(self, body: bytes, timestamp: int) -> Mapping[str, str]:
        """Return the headers for a body that is sent at `timestamp`, in Unix seconds."""
        signature = self._key.sign(b"%d|%b" % (timestamp, body))
        return {"telnyx-timestamp": str(timestamp), "telnyx-signature-ed25519": base64.b64encode(signature).decode()}


def _read_key(key: str) -> "Ed25519PrivateKey":
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError:
        del key
        hint = "run `pip install 'aiorooms[webhooks]'`"
        raise setting_error("EventSigner", "needs the package cryptography, which is not installed", hint) from None
    try:
        raw = base64.b64decode(key.strip(), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    is_valid = len(raw) == 32
    if is_valid:
        return Ed25519PrivateKey.from_private_bytes(raw)
    del key, raw
    hint = "give the base64 text of the 32 bytes of an Ed25519 private key"
    raise setting_error("EventSigner(key=)", "is not a private key", hint)
