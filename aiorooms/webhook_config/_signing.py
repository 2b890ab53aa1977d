"""Sign an event as the API does: Ed25519 over the timestamp, a `|`, and the bytes of the body."""

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .._checks import setting_error

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["EventSigner"]


class EventSigner:
    """Signs events with a private Ed25519 key, so that a receiver that verifies signatures accepts them.

    `key` is the private key without a password: in PEM format, as `openssl genpkey -algorithm ed25519` makes it, or the
    base64 text of its 32 bytes. The receiver needs the public key that belongs to it.
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
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        del key
        hint = "run `pip install 'aiorooms[webhooks]'`"
        raise setting_error("EventSigner", "needs the package cryptography, which is not installed", hint) from None
    read: object = None
    try:
        if "-----BEGIN" in key:
            read = load_pem_private_key(key.encode(), password=None)
        else:
            read = Ed25519PrivateKey.from_private_bytes(base64.b64decode(key.strip(), validate=True))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        pass  # the library's error may show a part of the key
    del key
    if isinstance(read, Ed25519PrivateKey):
        return read
    del read
    hint = "give an Ed25519 private key: PEM text without a password, or the base64 text of its 32 bytes"
    raise setting_error("EventSigner(key=)", "is not a private key", hint)
