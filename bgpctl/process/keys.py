"""
Keys of a small certificate authority (CA), and certificates of nodes that it signs.

A directory of the operator has the CA: `ca.key`, `ca.crt`, and below `nodes/NAME` the files that node NAME gets:
`ca.crt` and `node.pem`, its certificate and its key in one file, so that a renewal replaces both together. The name
stands in the certificate's subject alternative name (RFC 5280, section 4.2.1.6), and nowhere else.

A private key exists in memory and in its file, which only its owner can read; it is no argument and no output.

Refuses to know: who may ask whom (agent/channel.py).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bgpctl import filesystem
from bgpctl.channel import CA_FILE, NODE_FILE

_CA_KEY: Final = "ca.key"
NODES: Final = "nodes"
SERVICE: Final = "bgpctl:"
"""Begins the URI in the certificate of a service that is no node."""
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
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certified(directory, key.public_key(), [x509.DNSName(node)], days)
    place = directory / NODES / node
    with _directory(directory / NODES):
        install(place, certificate + _private(key), ca_of(directory))
    return place


def install(place: Path, node_file: bytes, ca: bytes) -> None:
    """Put a node's files into its directory, in place of former ones. Raises KeysError."""
    with _directory(place) as handle:
        filesystem.replace(handle, CA_FILE, ca, mode=0o644)
        filesystem.replace(handle, NODE_FILE, node_file)


def issue_for(directory: Path, place: Path, service: str, addresses: Iterable[str] = ()) -> None:
    """
    A new key and certificate in the one file `place`, for a service of the cluster that is no node: its name is a URI,
    which no node's certificate has, beside the addresses by which TLS clients know it. Raises KeysError.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.UniformResourceIdentifier(f"{SERVICE}{service}"), *map(_ip, addresses)]
    certificate = _certified(directory, key.public_key(), names, NODE_DAYS)
    write_private(place, certificate + _private(key))


def _ip(text: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_address(text))


def certify(directory: Path, public_key: str, node: str, *, days: int = NODE_DAYS) -> str:
    """
    A certificate in PEM for a node's public key in PEM, which is an elliptic one. Raises KeysError: there is no CA, or
    it is no such key.
    """
    try:
        key = load_pem_public_key(public_key.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise KeysError("the public key cannot be read as PEM") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeysError("the public key is none of ECDSA P-256")
    return _certified(directory, key, [x509.DNSName(node)], days).decode()


def kept_key(place: Path) -> tuple[str, bytes]:
    """
    The key of a certificate that is to be asked for: the public half in PEM, and the private one for `NODE_FILE`. It
    is made where the file is absent, so that one who asks again has the same. Raises KeysError.
    """
    try:
        with _directory(place.parent) as handle:
            if not place.exists():
                filesystem.replace(handle, place.name, _private(ec.generate_private_key(ec.SECP256R1())))
            private = filesystem.read_ours(handle, place.name)
            key = load_pem_private_key(private, None)
    except OSError as error:
        raise KeysError(f"{place}: {error.strerror or error}") from error
    except ValueError:  # its message may quote the key
        raise KeysError(f"{place} cannot be read as PEM; remove it") from None
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return public.decode(), private


def write_private(place: Path, content: bytes) -> None:
    """A file for its owner alone, in a directory that is made where it is absent. Raises KeysError."""
    try:
        with _directory(place.parent) as handle:
            filesystem.replace(handle, place.name, content)
    except OSError as error:
        raise KeysError(f"{place}: {error.strerror or error}") from error


def ca_of(directory: Path) -> bytes:
    """The certificate of the CA, in PEM. Raises KeysError."""
    with _directory(directory) as handle:
        return _pem(_authority(handle, directory)[1])


def serial_of(certificate: str) -> str:
    """The serial number of a certificate in PEM, in hexadecimal digits."""
    return f"{x509.load_pem_x509_certificate(certificate.encode()).serial_number:x}"


def revocations(directory: Path, serials: Iterable[str]) -> str:
    """The CA's list of revoked certificates (RFC 5280, section 5) in PEM, as long valid as the CA. Raises KeysError."""
    with _directory(directory) as handle:
        ca_key, ca = _authority(handle, directory)
    if not ca.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign:
        raise KeysError(f"the CA in {directory} was made by a version that revoked nothing, and cannot revoke")
    now = datetime.now(UTC)
    made = x509.CertificateRevocationListBuilder(ca.subject, now - _SKEW, ca.not_valid_after_utc)
    for serial in serials:
        revoked = x509.RevokedCertificateBuilder(int(serial, 16), now - _SKEW).build()
        made = made.add_revoked_certificate(revoked)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    made = made.add_extension(issuer, critical=False).add_extension(
        x509.CRLNumber(int(now.timestamp())), critical=False
    )
    return made.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def _certified(directory: Path, key: ec.EllipticCurvePublicKey, names: list[x509.GeneralName], days: int) -> bytes:
    """A certificate in PEM for one who can be on both sides of TLS. Raises KeysError."""
    with _directory(directory) as handle:
        ca_key, ca = _authority(handle, directory)
    made = _builder(x509.Name([]), ca.subject, key, days, ca.not_valid_after_utc)
    made = made.add_extension(x509.SubjectAlternativeName(names), critical=True)
    made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    made = made.add_extension(_usage(sign_certificates=False), critical=True)
    both_sides = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    made = made.add_extension(x509.ExtendedKeyUsage(both_sides), critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    made = made.add_extension(issuer, critical=False)
    return _pem(made.sign(ca_key, hashes.SHA256()))


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
        crl_sign=sign_certificates,
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
