"""The join service: who is taken for it, what it reads, and certificates that were revoked. Real TLS on loopback."""

from __future__ import annotations

import json
import socket
import ssl
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bgpctl import channel
from bgpctl.channel import KeysUnusable
from bgpctl.core.cluster.intent import Intent
from bgpctl.join import allocations, backup, client, server
from bgpctl.join.client import NAME, NotReached
from bgpctl.join.refused import JoinRefused
from bgpctl.join.server import JoinServer
from bgpctl.join.service import Peer
from bgpctl.ports import Records
from bgpctl.process import keys
from bgpctl.process.keys import KeysError
from bgpctl.store.records import RecordReader


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("join") / "ca"
    keys.make_ca(made)
    keys.issue_for(made, made / "service.pem", NAME)
    keys.issue(made, "h2")
    return made


def echo(verb: str, body: Mapping[str, Any], peer: Peer | None) -> dict[str, Any]:
    if verb == "refuse":
        raise JoinRefused("not \x1b[31mtoday")
    return {"verb": verb, "body": dict(body), "peer": peer}


@contextmanager
def serving(ca: Path, certificate: Path) -> Iterator[int]:
    listening = server.listening("127.0.0.1", 0)
    port = int(listening.getsockname()[1])
    made = JoinServer(listening, server.context(certificate, ca / "ca.crt"), echo)
    try:
        yield port
    finally:
        made.close()


def test_a_request_is_answered_and_a_node_is_known_by_its_certificate(ca: Path) -> None:
    own = ca / keys.NODES / "h2" / channel.NODE_FILE
    text = (ca / "ca.crt").read_text()
    with serving(ca, ca / "service.pem") as port:
        assert client.ask("127.0.0.1", port, text, "join", {"a": "b"}) == {
            "verb": "join",
            "body": {"a": "b"},
            "peer": None,
        }
        found = client.ask("127.0.0.1", port, text, "leave", {}, own)["peer"]
        assert found == ["h2", keys.serial_of(own.read_text())]
        with pytest.raises(JoinRefused, match=r"not .x1b"):
            client.ask("127.0.0.1", port, text, "refuse", {})


def test_a_node_that_poses_as_the_service_is_sent_nothing(ca: Path) -> None:
    node = ca / keys.NODES / "h2" / channel.NODE_FILE
    with serving(ca, node) as port, pytest.raises(NotReached, match="nothing was sent"):
        client.ask("127.0.0.1", port, (ca / "ca.crt").read_text(), "join", {})


def test_a_service_of_another_authority_is_sent_nothing(ca: Path, tmp_path: Path) -> None:
    keys.make_ca(tmp_path / "other")
    with serving(ca, ca / "service.pem") as port, pytest.raises(NotReached, match="nothing was sent"):
        client.ask("127.0.0.1", port, (tmp_path / "other" / "ca.crt").read_text(), "join", {})


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /v1/join HTTP/1.1\r\nContent-Length: 99999\r\n\r\n",
        b"POST /v1/join HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/join HTTP/1.1\r\nContent-Length: 2\r\n\r\n[]",
        b"POST /v1/join HTTP/1.1\r\nContent-Length: 1\r\n\r\n{",
        b"GET /v1/join HTTP/1.1\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_what_is_no_request_is_answered_with_an_error_and_the_service_goes_on(ca: Path, request_: bytes) -> None:
    tls = ssl.create_default_context(cafile=str(ca / "ca.crt"))
    tls.check_hostname = False
    with serving(ca, ca / "service.pem") as port:
        with socket.create_connection(("127.0.0.1", port), 10) as plain, tls.wrap_socket(plain) as opened:
            opened.sendall(request_)
            assert opened.recv(4096).split()[1] in {b"400", b"403", b"404"}
        assert client.ask("127.0.0.1", port, (ca / "ca.crt").read_text(), "join", {})


def test_one_address_has_few_connections_and_the_oldest_idle_one_makes_room(ca: Path) -> None:
    with serving(ca, ca / "service.pem") as port:
        idle = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(3 * server.LIMITS.each)]
        try:
            assert client.ask("127.0.0.1", port, (ca / "ca.crt").read_text(), "join", {})
        finally:
            for one in idle:
                one.close()


def test_a_certificate_that_was_revoked_is_none(ca: Path) -> None:
    for node in ("h3", "h4"):
        place = keys.issue(ca, node)
        serial = keys.serial_of((place / channel.NODE_FILE).read_text())
        (place / channel.REVOCATIONS_FILE).write_text(keys.revocations(ca, [serial] if node == "h3" else ["1"]))
    assert channel.own_certificate(ca / keys.NODES / "h4").name == "h4"
    with pytest.raises(KeysUnusable, match="revoked"):
        channel.own_certificate(ca / keys.NODES / "h3")


def test_a_key_is_kept_for_one_who_asks_again_and_signed_without_leaving_the_host(ca: Path, tmp_path: Path) -> None:
    place = tmp_path / "keys" / "pending.key"
    public, private = keys.kept_key(place)
    assert keys.kept_key(place) == (public, private)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert "PRIVATE" not in public
    keys.install(tmp_path / "keys", keys.certify(ca, public, "h5").encode() + private, keys.ca_of(ca))
    assert channel.own_certificate(tmp_path / "keys").name == "h5"


@pytest.mark.parametrize("text", ["", "x", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_what_is_no_public_key_is_not_signed(ca: Path, text: str) -> None:
    with pytest.raises(KeysError, match="public key"):
        keys.certify(ca, text, "h5")


def cluster(nodes: str) -> Intent:
    text = (
        f"calico_backend: vxlan\npools: {{blue: {{cidr: 10.244.0.0/24, encapsulation: VXLAN}}}}\nnodes: {{{nodes}}}\n"
    )
    found = RecordReader().understand(Records(0, None, {"cluster.yaml": text}))
    assert isinstance(found, Intent)
    return found


def test_a_new_node_gets_the_first_free_block_of_a_pool() -> None:
    taken = cluster("a: {address: 10.0.0.1/24, blocks: [10.244.0.0/26, 10.244.0.128/26]}")
    assert list(map(str, allocations.first_block(taken, None, None))) == ["10.244.0.64/26"]
    assert list(map(str, allocations.first_block(taken, "10.244.0.192/26", None))) == ["10.244.0.192/26"]
    with pytest.raises(JoinRefused, match=r"overlaps 10\.244\.0\.128/26, which node a has"):
        allocations.first_block(taken, "10.244.0.128/27", None)
    with pytest.raises(JoinRefused, match="pool red is none of this cluster's: blue"):
        allocations.first_block(taken, None, "red")
    with pytest.raises(JoinRefused, match="--block"):
        allocations.first_block(taken, "10.244.0.1/26", None)
    full = cluster(
        "a: {address: 10.0.0.1/24, blocks: [10.244.0.0/26, 10.244.0.64/26, 10.244.0.128/26, 10.244.0.192/26]}"
    )
    with pytest.raises(JoinRefused, match="no free block"):
        allocations.first_block(full, None, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "b:1:2: it is no backup"),
        ("{}", "no backup of format 1"),
        (json.dumps({"bgpctl-backup": 1, "entries": {"meta": 1}}), "no mapping of texts"),
        (json.dumps({"bgpctl-backup": 1, "entries": {"meta": "{}"}}), "no cluster/head"),
    ],
)
def test_what_is_no_backup_is_refused_with_the_rule(text: str, words: str) -> None:
    with pytest.raises(JoinRefused, match=words):
        backup.read(text, "b")


def test_a_port_that_is_taken_is_named() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Exception, match=f"127.0.0.1 port {port}"):
            server.listening("127.0.0.1", port)
