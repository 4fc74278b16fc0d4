"""
One-time secrets by which hosts join a cluster: what the cluster keeps of one, and whether it lets a host in.

The cluster keeps the SHA-256 of a secret of 256 random bits, so a reader of its records cannot join with them. A secret
lets one host in: the first that shows it, known by its public key. That host may ask again with the same key, since an
answer may have been lost on the way; anybody else is refused.

Refuses to know: where records are kept, the clock, chance.
"""

from __future__ import annotations

import enum
import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Invitation:
    """
    What the cluster keeps of one secret.

    Attributes:
        number: its public name, in hexadecimal digits.
        digest: SHA-256 of the secret, in hexadecimal digits.
        ends_s: seconds since 1970 at which it expires.
        node, key: who has used it: the name, and SHA-256 of the public key; "" of one that is unused.
    """

    number: str
    digest: str
    ends_s: float
    node: str = ""
    key: str = ""
    is_revoked: bool = False


class Refused(enum.Enum):
    """The reason why a secret lets nobody in, in words."""

    UNKNOWN = "this cluster does not know the secret"
    EXPIRED = "the secret has expired"
    REVOKED = "the secret was revoked"
    USED = "the secret was used already, by another host"


def digest_of(secret: str) -> str:
    """SHA-256 in hexadecimal digits; what a record of the secret has."""
    return sha256(secret.encode()).hexdigest()


def judge(invitation: Invitation | None, secret: str, node: str, key: str, now_s: float) -> Refused | None:
    """
    Why a host that shows `secret` is not let in as `node` with the public key whose digest is `key`; None: it is.

    A wrong secret is answered like an unknown one: the number of an invitation is no secret.
    """
    if invitation is None or not hmac.compare_digest(invitation.digest, digest_of(secret)):
        return Refused.UNKNOWN
    if invitation.is_revoked:
        return Refused.REVOKED
    if now_s >= invitation.ends_s:
        return Refused.EXPIRED
    if invitation.node and (invitation.node, invitation.key) != (node, key):
        return Refused.USED
    return None
