"""
An etcd of one member on the operator's host, from Debian's package: its certificates, its settings, its start.

Clients and members come by TLS alone, with certificates of two authorities: a node's certificate opens no port of
members, where the one who speaks is believed. No certificate has a common name, which etcd would take for a user's
(docs/decisions/0041). Under systemd the unit bgpctl-etcd runs it; elsewhere it is a process of its own.

Refuses to know: users and keys.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from bgpctl.core.net.addresses import Address
from bgpctl.join.places import Places
from bgpctl.join.refused import JoinRefused
from bgpctl.process import keys

CLIENT_PORT: Final = 2379
_MEMBER_PORT: Final = 2380
UNIT: Final = "bgpctl-etcd.service"
_SETTINGS: Final = "etcd.env"
_SYSTEMD: Final = Path("/run/systemd/system")
_UP_WITHIN_S: Final = 60.0
_POLL_S: Final = 0.1


def endpoint(address: Address) -> str:
    """For clients."""
    return f"https://{_host(address)}:{CLIENT_PORT}"


def program() -> str:
    """Where etcd is. Raises JoinRefused."""
    found = shutil.which("etcd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if not found:
        raise JoinRefused("etcd is not installed: apt-get install etcd-server; or give the one there is with --store")
    return found


def prepare(places: Places, address: Address) -> None:
    """Make its certificates and settings where there are none. Raises KeysError."""
    place = places.etcd
    members = place / "members"
    if not (members / "ca.key").exists():
        place.mkdir(mode=0o700, exist_ok=True)
        keys.make_ca(members)
    keys.issue_for(members, place / "member.pem", "etcd-member", [str(address)])
    keys.issue_for(places.ca, place / "client.pem", "etcd", [str(address)])
    lines = (f"{key}={value}\n" for key, value in _settings(places, address).items())
    keys.write_private(place / _SETTINGS, "".join(lines).encode())


def _settings(places: Places, address: Address) -> Mapping[str, str]:
    """As etcd's variables."""
    place = places.etcd
    member = f"https://{_host(address)}:{_MEMBER_PORT}"
    return {
        "ETCD_NAME": "bgpctl",
        "ETCD_DATA_DIR": str(places.state / "etcd"),
        "ETCD_LISTEN_CLIENT_URLS": endpoint(address),
        "ETCD_ADVERTISE_CLIENT_URLS": endpoint(address),
        "ETCD_LISTEN_PEER_URLS": member,
        "ETCD_INITIAL_ADVERTISE_PEER_URLS": member,
        "ETCD_INITIAL_CLUSTER": f"bgpctl={member}",
        "ETCD_CERT_FILE": str(place / "client.pem"),
        "ETCD_KEY_FILE": str(place / "client.pem"),
        "ETCD_TRUSTED_CA_FILE": str(places.ca / "ca.crt"),
        "ETCD_CLIENT_CERT_AUTH": "true",
        "ETCD_PEER_CERT_FILE": str(place / "member.pem"),
        "ETCD_PEER_KEY_FILE": str(place / "member.pem"),
        "ETCD_PEER_TRUSTED_CA_FILE": str(place / "members" / "ca.crt"),
        "ETCD_PEER_CLIENT_CERT_AUTH": "true",
        "ETCD_BCRYPT_COST": "4",  # passwords are 256 random bits: nobody guesses one, however fast a guess is
        "ETCD_PRE_VOTE": "true",
        "ETCD_AUTO_COMPACTION_RETENTION": "1",
        "ETCD_LOG_LEVEL": "error",
        "ETCD_LOGGER": "zap",
    }


def start(places: Places) -> str:
    """Start it, with what it has kept; how it runs, in words. Raises JoinRefused."""
    if _SYSTEMD.exists() and (places.directory, places.state) == (Places().directory, Places().state):
        done = subprocess.run(
            ("systemctl", "enable", "--now", UNIT), capture_output=True, text=True, check=False, timeout=_UP_WITHIN_S
        )
        if done.returncode:
            raise JoinRefused(f"{UNIT} does not start: {done.stderr.strip()}; see: journalctl -u {UNIT}")
        return f"unit {UNIT}"
    places.state.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (places.state / "etcd.log").open("ab") as log:
        process = subprocess.Popen(
            (program(),),
            env=_variables(places),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return f"process {process.pid}"


def _variables(places: Places) -> dict[str, str]:
    lines = (places.etcd / _SETTINGS).read_text().splitlines()
    return {**dict(line.split("=", 1) for line in lines), "PATH": os.environ.get("PATH", "")}


def wait(answers: Callable[[], bool], log: Path) -> None:
    """Until it answers. Raises JoinRefused."""
    deadline_s = time.monotonic() + _UP_WITHIN_S
    while not answers():
        if time.monotonic() > deadline_s:
            raise JoinRefused(f"etcd does not answer in {_UP_WITHIN_S:.0f} s; see {log}, or: journalctl -u {UNIT}")
        time.sleep(_POLL_S)


def _host(address: Address) -> str:
    return f"[{address}]" if address.version == 6 else str(address)
