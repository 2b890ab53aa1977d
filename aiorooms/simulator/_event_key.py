"""The key that signs webhook events, as the API does: Ed25519 over the timestamp, a `|`, and the bytes of the body.

Signing needs the package cryptography. Without it, events are sent unsigned. It is imported only when it is needed,
because most simulators send no events.
"""

import base64
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class EventKey:
    """The key of one simulator. The same seed produces the same key, so the key is no secret."""

    def __init__(self, seed: int) -> None:
        self._secret = sha256(f"aiorooms simulator, key of seed {seed}".encode()).digest()
        self._loaded = False
        self._private: Ed25519PrivateKey | None = None

    @property
    def public_key(self) -> str | None:
        """The base64 text of the 32 bytes of the public key. None if cryptography is not installed."""
        private = self._load()
        if private is None:
            return None
        return base64.b64encode(private.public_key().public_bytes_raw()).decode()

    def headers(self, body: bytes, timestamp: int) -> Mapping[str, str]:
        """Return the headers for a body that is sent at `timestamp`, in Unix seconds."""
        headers = {"telnyx-timestamp": str(timestamp)}
        private = self._load()
        if private is not None:
            signature = private.sign(b"%d|%b" % (timestamp, body))
            headers["telnyx-signature-ed25519"] = base64.b64encode(signature).decode()
        return headers

    def _load(self) -> "Ed25519PrivateKey | None":
        if not self._loaded:
            self._loaded = True
            try:
                from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
            except ImportError:
                return None
            self._private = Ed25519PrivateKey.from_private_bytes(self._secret)
        return self._private
