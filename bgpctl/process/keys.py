"""
Keys of a small certificate authority (CA), and certificates of nodes that it signs.

A directory of the operator has the CA: `ca.key`, `ca.crt`, and below `nodes/NAME` the files that node NAME gets:
`ca.crt` and `node.pem`, its certificate and its key in one file, so that a renewal replaces both together. The name
stands in the certificate's subject alternative name (RFC 5280, section 4.2.1.6), and nowhere else.

A private key exists in memory and in its file, which only its owner can read; it is no argument and no output.

Refuses to know: who may ask whom (agent/channel.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bgpctl import filesystem
from bgpctl.channel import CA_FILE, NODE_FILE

_CA_KEY: Final = "ca.key"
NODES: Final = "nodes"
CA_DAYS: Final = 3650
NODE_DAYS: Final = 365
_SKEW: Final = timedelta(hours=1)
"""Clocks of other nodes may be behind by so much."""
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


class KeysError(Exception):
    """The keys cannot be made; the message has the reason."""


def make_ca(directory: Path, *, days: int = CA_DAYS) -> None:
    """A new CA in `directory`, which is made where it is absent. Raises KeysError, also if there is one already."""
    with _directory(directory) as handle:
        if (directory / _CA_KEY).exists() or (directory / CA_FILE).exists():
            raise KeysError(f"{directory} has a CA already; choose another directory with --keys")
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "bgpctl")])
        usage = _usage(sign_certificates=True)
        made = _builder(name, name, key.public_key(), days)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        made = made.add_extension(usage, critical=True)
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        filesystem.replace(handle, _CA_KEY, _private(key))
        filesystem.replace(handle, CA_FILE, _pem(made.sign(key, hashes.SHA256())), mode=0o644)


def issue(directory: Path, node: str, *, days: int = NODE_DAYS) -> Path:
    """
    A new key and certificate for a node, in place of former ones. `directory` has the CA, which the certificate does
    not outlive.

    Returns:
        The directory with the node's files.

    Raises:
        KeysError: there is no CA, or it has expired, or files cannot be read or written.
    """
    with _directory(directory) as handle:
        ca_key, ca = _authority(handle, directory)
    key = ec.generate_private_key(ec.SECP256R1())
    made = _builder(x509.Name([]), ca.subject, key.public_key(), days, ca.not_valid_after_utc)
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(node)]), critical=True)
    made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    made = made.add_extension(_usage(sign_certificates=False), critical=True)
    both_sides = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    made = made.add_extension(x509.ExtendedKeyUsage(both_sides), critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    made = made.add_extension(issuer, critical=False)
    certificate = made.sign(ca_key, hashes.SHA256())
    place = directory / NODES / node
    with _directory(directory / NODES), _directory(place) as handle:
        filesystem.replace(handle, CA_FILE, _pem(ca), mode=0o644)
        filesystem.replace(handle, NODE_FILE, _pem(certificate) + _private(key))
    return place


def ends(place: Path) -> datetime:
    """When the certificate in a node's directory ends. Raises KeysError."""
    try:
        return x509.load_pem_x509_certificate((place / NODE_FILE).read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as error:
        raise KeysError(f"{place / NODE_FILE} cannot be read") from error


def _authority(handle: int, directory: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    try:
        key = load_pem_private_key(filesystem.read_ours(handle, _CA_KEY), None)
        ca = x509.load_pem_x509_certificate(filesystem.read_ours(handle, CA_FILE))
    except FileNotFoundError as error:
        raise KeysError(f"{directory} has no CA; make one with: bgpctl keys init --keys {directory}") from error
    except ValueError:  # its message may quote the key
        raise KeysError(f"{directory / _CA_KEY} or {directory / CA_FILE} cannot be read as PEM") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != ca.public_key():
        raise KeysError(f"{directory / _CA_KEY} is not the key of {directory / CA_FILE}")
    if ca.not_valid_after_utc <= datetime.now(UTC):
        raise KeysError(
            f"the CA in {directory} has expired; make another one, in another directory, with: bgpctl keys init"
        )
    return key, ca


@contextmanager
def _directory(path: Path) -> Iterator[int]:
    """Open, and for its owner alone where it is new. Raises KeysError."""
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        with filesystem.ours(path) as handle:
            yield handle
    except OSError as error:
        raise KeysError(f"{path}: {error.strerror or error}") from error


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    days: int,
    ends: datetime = _NEVER,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    begun = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
    return begun.not_valid_before(now - _SKEW).not_valid_after(min(now + timedelta(days=days), ends))


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
