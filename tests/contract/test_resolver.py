"""The resolver of names, asked by real workloads: what it knows, what it asks others for, whom it does not answer."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset
import pytest

from bgpctl.attach import netns
from bgpctl.attach.dns.clients import BURST
from bgpctl.core.ipam.names import STATUS_FILE
from tests.contract.kernel_rig import own_namespace, shell
from tests.waiting import wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

CLUSTER = """\
calico_backend: vxlan
pools:
  blue: {cidr: 10.244.0.0/16, encapsulation: VXLAN, blockSize: 24}
  six: {cidr: "fd00:10:244::/48", encapsulation: VXLAN, blockSize: 120}
nodes:
  a1: {address: 10.0.0.1/24, address6: "fd00:10:a::1/64", blocks: [10.244.1.0/24, "fd00:10:244:1::/120"]}
  a2: {address: 10.0.0.2/24, address6: "fd00:10:a::2/64", blocks: [10.244.2.0/24, "fd00:10:244:2::/120"]}
"""
AT = "169.254.1.1"
AT6 = "fd62:6770:6374:6c00::53"
UPSTREAM = ("10.0.0.1", 5353)


class Upstream:
    """A resolver of the host: `big.example` has an answer that fits no datagram, everything else 192.0.2.1."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_silent = False
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._tcp = socket.create_server(UPSTREAM)
        self._udp.bind(UPSTREAM)
        for run in (self._datagrams, self._streams):
            threading.Thread(target=run, daemon=True).start()

    def _answer(self, content: bytes) -> dns.message.Message:
        question = dns.message.from_wire(content)
        name = question.question[0].name
        self.asked.append(name.to_text())
        answer = dns.message.make_response(question)
        many = range(1, 200) if name.to_text() == "big.example." else (1,)
        answer.answer.append(dns.rrset.from_text(name, 60, "IN", "A", *(f"192.0.2.{number}" for number in many)))
        return answer

    def _datagrams(self) -> None:
        while True:
            try:
                content, source = self._udp.recvfrom(4096)
            except OSError:
                return
            if not content:  # it was shut down
                return
            if self.is_silent:
                continue
            answer = self._answer(content)
            try:
                wire = answer.to_wire(max_size=512)
            except dns.exception.TooBig:
                answer.answer.clear()
                answer.flags |= dns.flags.TC
                wire = answer.to_wire()
            with suppress(OSError):
                self._udp.sendto(wire, source)

    def _streams(self) -> None:
        while True:
            try:
                stream, _ = self._tcp.accept()
            except OSError:
                return
            with stream:
                length = int.from_bytes(stream.recv(2))
                wire = self._answer(stream.recv(length)).to_wire()
                stream.sendall(len(wire).to_bytes(2) + wire)

    def close(self) -> None:
        """No question is answered any more; once more is no error."""
        for each in (self._udp, self._tcp):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


class Host:
    """The node a1 in the thread's namespace, with the resolver and a resolver for it to ask."""

    def __init__(self, place: Path, spaces: list[str]) -> None:
        self.place, self.spaces = place, spaces
        self.run_dir = place / "run"
        self._where = ("-f", str(place / "cluster.yaml"), "--node", "a1")
        (place / "cluster.yaml").write_text(CLUSTER)
        self.upstream = Upstream()
        self.resolver = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        state = ("--state-dir", str(self.place / "state"), "--run-dir", str(self.run_dir))
        where = (*self._where, *state, "--forward", f"{UPSTREAM[0]}:{UPSTREAM[1]}")
        with (self.place / "resolver.log").open("ab") as log:
            made = subprocess.Popen((sys.executable, "-m", "bgpctl", "resolver", *where), stdout=log, stderr=log)
        wait_until((self.run_dir / STATUS_FILE).exists, within_s=30)
        return made

    def bgpctl(self, *words: str) -> str:
        done = subprocess.run((sys.executable, "-m", "bgpctl", *words), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def add(self, name: str, space: str, *pools: str) -> None:
        words = [word for pool in pools for word in ("--pool", pool)]
        state = ("--state-dir", str(self.place / "state"))
        self.bgpctl("workload", *state, "add", name, "--netns", space, *words, *self._where)

    def log(self) -> str:
        return (self.place / "resolver.log").read_text()

    def close(self) -> None:
        self.upstream.close()
        self.resolver.terminate()
        assert self.resolver.wait(15) == 0, self.log()
        assert "Traceback" not in self.log()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    spaces = [f"dn{os.getpid()}-{number}" for number in range(2)]
    with own_namespace():
        shell("link set lo up", "link add eth0 type veth peer name far", "link set eth0 up", "link set far up")
        shell("addr add 10.0.0.1/24 dev eth0", "addr add fd00:10:a::1/64 dev eth0 nodad")
        for name in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
            Path("/proc/sys", name).write_text("1")
        netns.ip([f"netns add {space}" for space in spaces])
        made = Host(tmp_path, spaces)
        try:
            yield made
        finally:
            made.close()
            netns.ip([f"netns delete {space}" for space in spaces])


def ask(space: str, name: str, kind: str = "A", at: str = AT, *, tcp: bool = False) -> dns.message.Message:
    """The answer to a question from a namespace."""
    question = dns.message.make_query(name, kind)
    send = dns.query.tcp if tcp else dns.query.udp
    return netns.inside(space, lambda: send(question, at, timeout=10))


def found(answer: dns.message.Message) -> list[str]:
    return sorted(item.to_text() for rrset in answer.answer for item in rrset)


def code(answer: dns.message.Message) -> str:
    return dns.rcode.to_text(answer.rcode())


def test_a_workload_asks_for_another_one_by_name_with_both_ip_versions_by_udp_and_tcp(host: Host) -> None:
    one, other = host.spaces
    host.add("web", one, "blue", "six")
    host.add("db", other, "blue", "six")
    for at in (AT, AT6):
        for tcp in (False, True):
            assert found(ask(one, "db.blue.bgpctl", "A", at, tcp=tcp)) == ["10.244.1.2"]
            assert found(ask(one, "DB.Six.BGPCTL", "AAAA", at, tcp=tcp)) == ["fd00:10:244:1::2"]
    answer = ask(one, "db.blue.bgpctl")
    assert answer.flags & dns.flags.AA
    assert answer.flags & dns.flags.RA
    assert host.upstream.asked == []


def test_what_is_not_there_is_told_apart_from_what_has_no_such_address(host: Host) -> None:
    one, other = host.spaces
    host.add("web", one, "blue")
    host.add("db", other, "six")
    for name, kind, expected in (
        ("nobody.blue.bgpctl", "A", "NXDOMAIN"),
        ("web.blue.bgpctl", "AAAA", "NOERROR"),
        ("web.blue.bgpctl", "MX", "NOERROR"),
        ("blue.bgpctl", "A", "NOERROR"),
        ("red.bgpctl", "A", "NXDOMAIN"),
        ("bgpctl", "A", "NOERROR"),
        ("200.1.244.10.in-addr.arpa", "PTR", "NXDOMAIN"),
    ):
        answer = ask(one, name, kind)
        assert (code(answer), found(answer), len(answer.authority)) == (expected, [], 1), name
    assert found(ask(one, "1.1.244.10.in-addr.arpa", "PTR")) == ["web.blue.bgpctl."]
    assert found(ask(one, "bgpctl", "SOA")) != []
    assert host.upstream.asked == []


def test_other_names_are_asked_for_at_the_hosts_own_resolvers(host: Host) -> None:
    one, _ = host.spaces
    host.add("web", one, "blue")
    assert found(ask(one, "www.example")) == ["192.0.2.1"]
    answer = ask(one, "big.example")
    assert answer.flags & dns.flags.TC
    assert len(found(ask(one, "big.example", tcp=True))) == 199
    host.upstream.close()
    assert code(ask(one, "later.example")) == "SERVFAIL"
    assert found(ask(one, "web.blue.bgpctl")) == ["10.244.1.1"]


def test_names_whose_resolver_is_silent_cost_others_nothing(host: Host) -> None:
    one, other = host.spaces
    host.add("web", one, "blue")
    host.add("db", other, "blue")
    host.upstream.is_silent = True
    many = [dns.message.make_query(f"n{number}.example", "A").to_wire() for number in range(100)]

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            for content in many:
                asking.sendto(content, (AT, 53))

    netns.inside(one, send)
    wait_until(lambda: questions(host)["failed"] > 50, within_s=30)
    host.upstream.is_silent = False
    assert found(ask(other, "www.example")) == ["192.0.2.1"]
    assert found(ask(one, "db.blue.bgpctl")) == ["10.244.1.2"]


def test_one_who_is_no_workload_is_refused_also_with_the_address_of_one(host: Host) -> None:
    one, other = host.spaces
    host.add("web", one, "blue")
    shell("link set far netns " + other)
    netns.ip(["link set far up", "address add 10.0.0.9/24 dev far", f"route add {AT} via 10.0.0.1"], other)
    assert code(ask(other, "web.blue.bgpctl")) == "REFUSED"
    assert code(ask(other, "www.example")) == "REFUSED"
    with pytest.raises((EOFError, OSError)):
        ask(other, "web.blue.bgpctl", tcp=True)
    netns.ip(["address add 10.244.1.1/32 dev lo", f"route replace {AT} via 10.0.0.1 src 10.244.1.1"], other)
    before = questions(host)
    with pytest.raises(dns.exception.Timeout):
        netns.inside(other, lambda: dns.query.udp(dns.message.make_query("www.example", "A"), AT, timeout=1))
    wait_until(lambda: questions(host)["refused"] > before["refused"], within_s=15)
    assert host.upstream.asked == []


def questions(host: Host) -> dict[str, int]:
    return dict(json.loads((host.run_dir / STATUS_FILE).read_text())["questions"])


def test_what_is_no_question_ends_nothing(host: Host) -> None:
    one, _ = host.spaces
    host.add("web", one, "blue")
    whole = dns.message.make_query("web.blue.bgpctl", "A").to_wire()

    def send() -> list[bytes]:
        answers = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(10)
            asking.connect((AT, 53))
            for content in (b"", b"\0" * 11, whole[:-3], whole[:2] + b"\x80" + whole[3:], b"\xff" * 600):
                asking.send(content)
            for content in (whole[:-3], whole[:2] + b"\x29" + whole[3:]):
                asking.send(content)
                answers.append(asking.recv(512))
        with socket.create_connection((AT, 53), timeout=10) as stream:
            stream.sendall(b"\xff\xff")
            assert stream.recv(1) == b""
        return answers

    assert {answer[3] & 15 for answer in netns.inside(one, send)} <= {int(dns.rcode.FORMERR), int(dns.rcode.NOTIMP)}
    assert found(ask(one, "web.blue.bgpctl")) == ["10.244.1.1"]


def test_a_workload_that_asks_too_often_is_not_answered_and_others_are(host: Host) -> None:
    one, other = host.spaces
    host.add("web", one, "blue")
    host.add("db", other, "blue")
    whole = dns.message.make_query("web.blue.bgpctl", "A").to_wire()

    def flood() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            for _ in range(int(BURST) * 3):
                with suppress(BlockingIOError):
                    asking.sendto(whole, (AT, 53))

    def is_limited() -> bool:
        netns.inside(one, flood)
        return questions(host)["limited"] > 0

    wait_until(is_limited, within_s=30)
    wait_until(lambda: is_answered(other), within_s=30)


def is_answered(space: str) -> bool:
    """Behind a flood a question may be lost; clients ask again."""
    try:
        return found(ask(space, "web.blue.bgpctl")) == ["10.244.1.1"]
    except dns.exception.Timeout:
        return False


def test_a_resolver_that_is_killed_leaves_workloads_as_they_are_and_the_next_one_answers(host: Host) -> None:
    one, other = host.spaces
    host.add("web", one, "blue")
    host.add("db", other, "blue")
    host.resolver.kill()
    host.resolver.wait()
    reach = ("ip", "netns", "exec", one, "ping", "-c", "1", "-W", "5", "10.244.1.2")
    wait_until(lambda: subprocess.run(reach, capture_output=True, check=False).returncode == 0, within_s=15)
    with pytest.raises((OSError, dns.exception.Timeout)):
        netns.inside(one, lambda: dns.query.udp(dns.message.make_query("web.blue.bgpctl", "A"), AT, timeout=1))
    (host.run_dir / STATUS_FILE).unlink()
    host.resolver = host.start()
    assert found(ask(one, "db.blue.bgpctl")) == ["10.244.1.2"]
