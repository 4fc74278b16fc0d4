import base64
import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from bgpctl.core.bgp.speaker import Session, SpeakerConfig
from bgpctl.core.cluster.configuration import Role
from bgpctl.core.net.addresses import Address, Asn
from bgpctl.speaker import conf

LOCAL, FIRST, SECOND = (Address.parse(f"10.0.0.{host}") for host in (1, 2, 3))
SIXTH = Address.parse("fd00::6")
BRIDGE = "/bin/true"


def session(peer: Address, *, passive: bool = False, port: int = 179, hold_time_s: int = 30) -> Session:
    return Session(
        peer, f"node-{peer}", LOCAL, Asn(64512), Asn(64513), passive=passive, port=port, hold_time_s=hold_time_s
    )


def config(*sessions: Session) -> SpeakerConfig:
    return SpeakerConfig(LOCAL, LOCAL, 179, sessions)


def validates(text: str, directory: Path) -> bool:
    file = directory / "exabgp.conf"
    file.write_text(text)
    command = (sys.executable, "-m", "exabgp", "validate", str(file))
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    "wanted",
    [
        config(),
        config(session(FIRST, passive=True), session(SECOND, port=1790)),
        config(dataclasses.replace(session(FIRST), name='a "b" {\n}')),
        config(dataclasses.replace(session(FIRST), ttl_security=1, bound=False)),
        config(dataclasses.replace(session(SIXTH), local=Address.parse("fd00::1"))),
    ],
    ids=["no session", "one of each side", "a name with everything", "GTSM from any address", "IPv6"],
)
def test_exabgp_accepts_a_rendered_configuration(wanted: SpeakerConfig, tmp_path: Path) -> None:
    assert validates(conf.render(wanted, BRIDGE, {FIRST: 'pass"; word é'}), tmp_path)


def test_exabgp_rejects_a_hold_time_that_bgp_does_not_allow(tmp_path: Path) -> None:
    assert not validates(conf.render(config(session(FIRST, hold_time_s=2)), BRIDGE, {}), tmp_path)


def test_only_the_passive_side_waits() -> None:
    assert "passive true;" in conf.render(config(session(FIRST, passive=True)), BRIDGE, {})
    assert "passive" not in conf.render(config(session(FIRST)), BRIDGE, {})


def test_a_port_is_written_where_it_is_not_our_own() -> None:
    assert "connect 1790;" in conf.render(config(session(FIRST, port=1790)), BRIDGE, {})
    assert "connect" not in conf.render(config(session(FIRST)), BRIDGE, {})


@pytest.mark.parametrize(("hops", "least"), [(1, 255), (2, 254), (255, 1)])
def test_ttl_security_counts_the_hops(hops: int, least: int) -> None:
    text = conf.render(config(dataclasses.replace(session(FIRST), ttl_security=hops)), BRIDGE, {})
    assert f"outgoing-ttl 255;\n  incoming-ttl {least};" in text


def test_without_ttl_security_any_number_of_hops_will_do() -> None:
    assert "ttl" not in conf.render(config(session(FIRST)), BRIDGE, {})


def test_a_session_that_is_not_bound_has_no_address_of_its_own() -> None:
    assert "local-address auto;" in conf.render(config(dataclasses.replace(session(FIRST), bound=False)), BRIDGE, {})


def test_a_session_speaks_of_its_own_ip_version_only() -> None:
    text = conf.render(config(session(FIRST), session(SIXTH)), BRIDGE, {})
    assert [line.strip() for line in text.splitlines() if "family" in line] == [
        "family { ipv4 unicast; }",
        "family { ipv6 unicast; }",
    ]


def test_a_password_stands_in_the_file_encoded_and_in_no_log() -> None:
    secrets = {FIRST: "hunter2;"}
    text = conf.render(config(session(FIRST)), BRIDGE, secrets)
    encoded = base64.b64encode(b"hunter2;").decode()
    assert encoded in text
    assert encoded not in conf.redacted(text + "hunter2;", secrets)
    assert "hunter2;" not in conf.redacted(text + "hunter2;", secrets)


def test_every_fact_of_a_neighbour_changes_its_tag_and_no_other() -> None:
    def tags(*sessions: Session, word: str = "x") -> frozenset[str]:
        return conf.tags(config(*sessions), {FIRST: word})

    before = tags(session(FIRST), session(SECOND))
    changed = [
        tags(session(FIRST, passive=True), session(SECOND)),
        tags(session(FIRST, port=180), session(SECOND)),
        tags(session(FIRST, hold_time_s=9), session(SECOND)),
        tags(dataclasses.replace(session(FIRST), restart_time_s=9), session(SECOND)),
        tags(dataclasses.replace(session(FIRST), peer_asn=Asn(1)), session(SECOND)),
        tags(session(FIRST), session(SECOND), word="y"),
        tags(dataclasses.replace(session(FIRST), ttl_security=1), session(SECOND)),
        tags(dataclasses.replace(session(FIRST), bound=False), session(SECOND)),
        tags(dataclasses.replace(session(FIRST), keepalive_s=3), session(SECOND)),
        tags(dataclasses.replace(session(FIRST), role=Role.PEER), session(SECOND)),
        tags(dataclasses.replace(session(FIRST), role=Role.PEER, strict_role=True), session(SECOND)),
        tags(dataclasses.replace(session(FIRST), role=Role.RS), session(SECOND)),
    ]
    assert len({before, *changed}) == 1 + len(changed)
    assert all(len(before & after) == 1 for after in changed)


def test_the_tags_are_those_in_the_file() -> None:
    options = dataclasses.replace(session(SECOND), role=Role.PROVIDER, strict_role=True, keepalive_s=10)
    wanted = config(session(FIRST), options)
    text = conf.render(wanted, BRIDGE, {})
    tags = conf.tags(wanted, {})
    assert len(tags) == 2
    assert all(conf.is_tag(tag) and f'description "{tag}";' in text for tag in tags)
    assert 'strict-role 0 keepalive 10";' in text


def test_the_listen_address_is_part_of_the_environment() -> None:
    wanted = dataclasses.replace(config(), listen=SECOND, listen_port=1790)
    environment = conf.environment(wanted)
    assert (environment["exabgp_tcp_bind"], environment["exabgp_tcp_port"]) == ("10.0.0.3", "1790")
    both = dataclasses.replace(wanted, listen6=SIXTH)
    assert conf.environment(both)["exabgp_tcp_bind"] == "10.0.0.3 fd00::6"
