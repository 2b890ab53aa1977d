"""Receivers of webhooks on loopback, with certificates made for the test."""

import asyncio
import datetime
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ..raw_server import Peer, raw_server

HOST = "hooks.example.com"

Serve = Callable[[Peer], Awaitable[None]]


def answering(status: int, *headers: str) -> Serve:
    """Return a handler that answers each request with this status."""

    async def serve(peer: Peer) -> None:
        await peer.read()
        lines = [f"HTTP/1.1 {status} X", *headers, "Content-Length: 0", "", ""]
        peer.write("\r\n".join(lines).encode())
        await peer.read_to_the_end()

    return serve


async def silent(peer: Peer) -> None:
    """Read the request, and never answer."""
    await peer.read()
    await peer.read_to_the_end()


async def closing(peer: Peer) -> None:
    """Read the request, and close the connection without an answer."""
    await peer.read()


async def resetting(peer: Peer) -> None:
    """Reset the connection as soon as there is a request."""
    await peer.read()
    peer.reset()


class Authority:
    """A certificate authority."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
        self._certificate = self._sign(self._name, self._key, 3650, x509.BasicConstraints(ca=True, path_length=None))
        self.trusting = ssl.create_default_context(
            cadata=self._certificate.public_bytes(serialization.Encoding.PEM).decode()
        )
        """The context of a client that trusts this authority."""

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: int, *extensions: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=5000))
            .not_valid_after(now + datetime.timedelta(days=days, hours=1))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def server(self, host: str = HOST, *, days: int = 60) -> ssl.SSLContext:
        """Return the context of a server whose certificate is for `host`, and expires in `days`."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        names = x509.SubjectAlternativeName([x509.DNSName(host)])
        certificate = self._sign(name, key, days, names)
        file = self._folder / f"{host}.{days}.pem"
        file.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(file)
        return context


@asynccontextmanager
async def receiver(
    serve: Serve, *, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1"
) -> AsyncGenerator[tuple[str, list[bytes]]]:
    """Yield the URL of a receiver with the name HOST, and what it received."""
    async with raw_server(serve, address=address, tls=tls) as (url, received):
        port = url.rpartition(":")[2].partition("/")[0]
        yield f"http{'s' * (tls is not None)}://{HOST}:{port}/rooms", received


def to(*addresses: str, asked: list[str] | None = None) -> Callable[[str], Awaitable[tuple[str, ...]]]:
    """Return a resolver with the same addresses for all hosts."""

    async def resolve(host: str) -> tuple[str, ...]:
        if asked is not None:
            asked.append(host)
        await asyncio.sleep(0)
        return addresses

    return resolve
