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
    """A certificate authority. `above` is the authority that has issued its certificate; None for a root."""

    def __init__(self, folder: Path, name: str = "Test CA", *, above: "Authority | None" = None) -> None:
        self._folder = folder
        self._above = above
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        self._certificate = (above or self).sign(self._name, self._key.public_key(), 3650, is_authority=True)
        self.trusting = ssl.create_default_context(cadata=self.pem().decode())
        """The context of a client that trusts this authority."""

    def pem(self) -> bytes:
        """Return the certificate of the authority."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        days: int,
        *,
        is_authority: bool = False,
        host: str = HOST,
    ) -> x509.Certificate:
        """Issue a certificate. Python 3.13 verifies the extensions of RFC 5280 strictly."""
        now = datetime.datetime.now(datetime.UTC)
        issuer_key = self._key.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=5000))
            .not_valid_after(now + datetime.timedelta(days=days, hours=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
            .add_extension(_usage(is_authority=is_authority), critical=True)
        )
        if not is_authority:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def server(self, host: str = HOST, *, days: int = 60) -> ssl.SSLContext:
        """Return the context of a server whose certificate is for `host`, and expires in `days`."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.sign(_name(host), key.public_key(), days, host=host)
        file = self._folder / f"{host}.{days}.pem"
        file.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + (b"" if self._above is None else self.pem())
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(file)
        return context


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


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
