"""
The text of ExaBGP's configuration file and its environment, from a SpeakerConfig.

Every neighbour is written out in full: a value inherited from a template would win over the neighbour's own.

Refuses to know: where the text is put, whether ExaBGP runs, where secrets are kept.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Final

from bgpctl.core.bgp import roles
from bgpctl.core.bgp.speaker import PeerConnecting, Session, SpeakerConfig
from bgpctl.core.net.addresses import Address, Asn
from bgpctl.speaker.session_patches import KEEPALIVE, ROLE, STRICT_ROLE

BRIDGE: Final = "bridge"
"""Name of ExaBGP's one API process."""
_TAG: Final = "bgpctl-"
_FAMILIES: Final = {4: "ipv4 unicast", 6: "ipv6 unicast"}
_GREATEST_TTL: Final = 255
_OPEN_WITHIN_S: Final = 20
"""A peer that took our connection and sends nothing for so long is reported as silent."""

_HEADER: Final = """\
# Written by bgpctl: changes made here are lost. What can be changed stands in the cluster file.
"""

_PROCESS: Final = """\
process {name} {{
  run {command};
  encoder json;
}}
"""

# adj-rib-in: bgpctl keeps what is received; ExaBGP's copy would cost 3 KB a route.
# manual-eor: an End-of-RIB sent on its own at restart would flush our routes at the peer (RFC 4724, section 4.1).
_ACCEPTED: Final = "# accepted"
"""Begins the line, before the block of a peer of a range, with which a new agent knows it."""

_NEIGHBOR: Final = """\
{accepted}# {name}
neighbor {peer} {{
  description "{tag}";
{facts}  family {{ {family}; }}
  capability {{
    route-refresh enable;
    graceful-restart {restart};
    add-path {add_path};
  }}
  adj-rib-in false;
  adj-rib-out true;
  manual-eor true;
  api {{
    processes [ {process} ];
    neighbor-changes;
    receive {{ parsed; open; update; refresh; }}
  }}
}}
"""


def render(config: SpeakerConfig, bridge_command: str, secrets: Mapping[Address, str]) -> str:
    """
    The whole configuration file; the same arguments give the same text.

    Args:
        config: the sessions, written in their order.
        bridge_command: program and arguments of the API process, separated by blanks.
        secrets: the TCP MD5 (RFC 2385) password of each peer that has one.
    """
    return "\n".join((head(bridge_command), *neighbors(config, secrets)))


def head(bridge_command: str) -> str:
    """The beginning of the file, the same for all sessions."""
    return "\n".join((_HEADER, _PROCESS.format(name=BRIDGE, command=bridge_command)))


def neighbors(config: SpeakerConfig, secrets: Mapping[Address, str]) -> tuple[str, ...]:
    """The rest of the file: a block for each session, which refers to no other block."""
    return tuple(_neighbor(config, session, secrets.get(session.peer)) for session in config.sessions)


def tags(config: SpeakerConfig, secrets: Mapping[Address, str]) -> frozenset[str]:
    """
    A tag of each neighbour block and its content, as `description` in the file.

    ExaBGP drops a reload silently now and then; its own listing of these shows the configuration in force.
    """
    return frozenset(_tag(session, _facts(config, session, secrets.get(session.peer))) for session in config.sessions)


def accepted_peers(text: str) -> tuple[PeerConnecting, ...]:
    """The peers of ranges in a configuration file, with their AS."""
    found = re.findall(rf"^{_ACCEPTED} (\S+) (\d+)$", text, re.MULTILINE)
    return tuple(PeerConnecting(Address.parse(peer), Asn(int(asn))) for peer, asn in found)


def is_tag(text: str) -> bool:
    """True if `text` can be one of `tags`."""
    return text.startswith(_TAG)


VERSION_NAME: Final = "bgpctl_speaker_version"
VERSION: Final = "5"
"""
Raised with every change of the patches after which they take other commands or write other lines: an ExaBGP that an
earlier agent has started is started again then. Its peers keep their routes by graceful restart.
"""


def environment(config: SpeakerConfig) -> dict[str, str]:
    """
    ExaBGP's settings that are not in the file; a change of any needs a restart of ExaBGP.

    It stays root because its default user, nobody, could not run the API process from a virtual environment below
    /root. Acknowledgements are off: they carry no id and mean "queued", not "sent".
    """
    return {
        "exabgp_api_ack": "false",
        "exabgp_api_cli": "false",
        "exabgp_api_respawn": "true",
        "exabgp_bgp_openwait": str(_OPEN_WITHIN_S),
        "exabgp_daemon_daemonize": "false",
        "exabgp_daemon_user": "root",
        "exabgp_log_destination": "stderr",
        "exabgp_log_level": "WARNING",
        "exabgp_tcp_bind": " ".join(str(address) for address in (config.listen, config.listen6) if address),
        "exabgp_tcp_port": str(config.listen_port),
    }


def redacted(text: str, secrets: Mapping[Address, str]) -> str:
    """`text` without any of the secrets, for logs."""
    for secret in secrets.values():
        text = text.replace(_encoded(secret), "***").replace(secret, "***")
    return text


def _neighbor(config: SpeakerConfig, session: Session, secret: str | None) -> str:
    facts = _facts(config, session, secret)
    return _NEIGHBOR.format(
        accepted=f"{_ACCEPTED} {session.peer} {session.peer_asn}\n" if session.accepted else "",
        name=_printable(session.name),
        peer=session.peer,
        tag=_tag(session, facts),
        facts="".join(f"  {fact};\n" for fact in facts[1:]),
        add_path="receive" if session.add_path else "disable",
        family=_FAMILIES[session.version],
        restart=session.restart_time_s,
        process=BRIDGE,
    )


def _facts(config: SpeakerConfig, session: Session, secret: str | None) -> tuple[str, ...]:
    """The statements that differ between neighbours; the first, which names the peer, opens the block."""
    return (
        f"neighbor {session.peer} graceful-restart {session.restart_time_s}{' add-path' if session.add_path else ''}",
        f"local-address {session.local if session.bound else 'auto'}",
        f"router-id {config.router_id}",
        f"local-as {session.local_asn}",
        f"peer-as {session.peer_asn}",
        f"hold-time {session.hold_time_s}",
        *_port(config, session),
        *_ttl(session),
        *_password(secret),
    )


def _port(config: SpeakerConfig, session: Session) -> Iterable[str]:
    if session.passive:
        return ("passive true",)
    # Without `connect` ExaBGP connects to the port that it listens on itself.
    return () if session.port == config.listen_port else (f"connect {session.port}",)


def _ttl(session: Session) -> Iterable[str]:
    """A packet sent with the greatest TTL arrives with its distance (RFC 5082, section 3)."""
    if session.ttl_security is None:
        return (f"outgoing-ttl {_GREATEST_TTL}",) if session.greatest_ttl else ()
    return (f"outgoing-ttl {_GREATEST_TTL}", f"incoming-ttl {_GREATEST_TTL - session.ttl_security + 1}")


def _password(secret: str | None) -> Iterable[str]:
    # In base64, because ExaBGP's file knows no quoting that is safe for every character.
    return () if secret is None else ("md5-base64 true", f'md5-password "{_encoded(secret)}"')


def _encoded(secret: str) -> str:
    return base64.b64encode(secret.encode()).decode()


def _tag(session: Session, facts: tuple[str, ...]) -> str:
    """With what the file has no statement for: the patched ExaBGP reads it here."""
    tag = _TAG + hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
    return " ".join((tag, *_role(session), *_keepalive(session)))


def _role(session: Session) -> Iterable[str]:
    if session.role is None:
        return ()
    return (STRICT_ROLE if session.strict_role else ROLE, str(roles.NUMBERS[session.role]))


def _keepalive(session: Session) -> Iterable[str]:
    return () if session.keepalive_s is None else (KEEPALIVE, str(session.keepalive_s))


def _printable(name: str) -> str:
    """Safe inside a comment: ExaBGP's comments end at the line's end."""
    return "".join(character if character.isprintable() and character.isascii() else "?" for character in name)
