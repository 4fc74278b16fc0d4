"""Names of workloads: which there are, and the answers to questions about them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from bgpctl.attach.dns import answers, forward
from bgpctl.attach.dns.answers import Question
from bgpctl.attach.dns.clients import BURST, RATE, Clients
from bgpctl.attach.dns.forward import Forwarder, Upstream
from bgpctl.core.ipam.ledger import Endpoint, Ledger, Request, Workload
from bgpctl.core.ipam.names import Named, Zone, full_name, named, zone
from bgpctl.core.net.addresses import Address, Mac
from bgpctl.store.etcd.records import BadRecord, NewerFormat
from bgpctl.store.etcd.workload_names import read_record, written_record
from tests.cluster import two_racks, with_ipv6

INTENT = with_ipv6(two_racks())
ONE, TWO, SIX = map(Address.parse, ("10.244.1.1", "10.244.2.2", "fd00:10:244::141"))


def workload(name: str, *addresses: Address, labels: dict[str, str] | None = None, docker: bool = False) -> Workload:
    endpoint = Endpoint("e" * 64, "n" * 64) if docker else None
    request = Request(name, "", labels=tuple(sorted((labels or {}).items())))
    return Workload(request, "cali1", Mac("0a:00:00:00:00:01"), addresses, 1450, 0.0, complete=True, endpoint=endpoint)


def names_of(*workloads: Workload) -> tuple[Named, ...]:
    return named(Ledger("a1", {found.name: found for found in workloads}), INTENT)


# Names -----------------------------------------------------------------------------------------------------------


def test_a_workload_that_was_added_has_a_name_in_each_of_its_pools() -> None:
    found = names_of(workload("web", ONE, SIX))
    assert found == (Named("blue", ("web",), (ONE, SIX)), Named("six", ("web",), (ONE, SIX)))


def test_a_container_of_docker_has_its_name_and_its_aliases_in_its_network() -> None:
    labels = {"docker.container": "shop_web_1", "docker.network": "shop", "docker.aliases": "web,shop_web_1"}
    assert names_of(workload("docker/1", ONE, labels=labels, docker=True)) == (
        Named("shop", ("shop_web_1", "web"), (ONE,)),
    )


def test_a_container_whose_name_is_not_known_has_none() -> None:
    cni = {"cni.network": "blue", "cni.container": "c1", "cni.interface": "eth0"}
    assert names_of(workload("docker/1", ONE, docker=True), workload("cni-1", TWO, labels=cni)) == ()
    assert names_of(workload("cni-1", TWO, labels={**cni, "cni.name": "db"})) == (Named("blue", ("db",), (TWO,)),)


def test_labels_of_an_operator_make_no_name() -> None:
    labels = {"docker.container": "other", "docker.network": "shop"}
    assert names_of(workload("web", ONE, labels=labels)) == (Named("blue", ("web",), (ONE,)),)


def test_a_runtimes_name_of_a_container_may_be_another_when_it_starts_again() -> None:
    found = workload("cni-1", TWO, labels={"cni.network": "blue", "cni.name": "db"})
    assert found.answers(replace(found.request, labels=(("cni.name", "other"), ("cni.network", "blue"))))
    assert not found.answers(replace(found.request, labels=(("cni.network", "red"),)))


@pytest.mark.parametrize(
    ("name", "network", "expected"),
    [
        ("Web", "Blue", "web.blue.bgpctl"),
        ("shop_web_1", "shop_shop", "shop_web_1.shop_shop.bgpctl"),
        ("a.b", "blue", "a.b.blue.bgpctl"),
        ("a" * 64, "blue", ""),
        ("a..b", "blue", ""),
        ("", "blue", ""),
        ("web 1", "blue", ""),
        ("wéb", "blue", ""),
        (".".join(["a" * 60] * 4), "bluesky", ""),
    ],
)
def test_a_name_is_one_of_dns_or_there_is_none(name: str, network: str, expected: str) -> None:
    assert full_name(name, network) == expected


def test_workloads_of_one_name_are_all_found_and_an_address_outside_the_pools_is_not() -> None:
    outside = Address.parse("192.0.2.9")
    every = [
        Named("blue", ("web",), (ONE,)),
        Named("blue", ("web",), (TWO, outside)),
        Named("blue", ("x",), (outside,)),
    ]
    found = zone(every, lambda address: address != outside, is_complete=True)
    assert found.addresses == {"bgpctl": (), "blue.bgpctl": (), "web.blue.bgpctl": (ONE, TWO)}
    assert found.names == {ONE: "web.blue.bgpctl", TWO: "web.blue.bgpctl"}


# Answers ---------------------------------------------------------------------------------------------------------

ZONE = zone([Named("blue", ("web",), (ONE, SIX)), Named("blue", ("db",), (TWO,))], lambda _: True, is_complete=True)


def is_ours(address: Address) -> bool:
    return INTENT.pool_of(address.host_prefix) is not None


def asked(name: str, kind: str = "A", within: Zone = ZONE) -> tuple[str, list[str]] | None:
    """The code of the answer and its records; None if other resolvers are to be asked."""
    question = answers.read(dns.message.make_query(name, kind).to_wire())
    assert isinstance(question, Question)
    answer = answers.answered(question, within, is_ours)
    if answer is None:
        return None
    again = dns.message.from_wire(answers.written(answer, 512))
    return dns.rcode.to_text(again.rcode()), sorted(item.to_text() for rrset in again.answer for item in rrset)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("web.blue.bgpctl", "A", ("NOERROR", ["10.244.1.1"])),
        ("WEB.blue.bgpctl", "AAAA", ("NOERROR", ["fd00:10:244::141"])),
        ("web.blue.bgpctl", "ANY", ("NOERROR", ["10.244.1.1", "fd00:10:244::141"])),
        ("db.blue.bgpctl", "AAAA", ("NOERROR", [])),
        ("blue.bgpctl", "A", ("NOERROR", [])),
        ("x.web.blue.bgpctl", "A", ("NXDOMAIN", [])),
        ("web.bgpctl", "A", ("NXDOMAIN", [])),
        ("1.1.244.10.in-addr.arpa", "PTR", ("NOERROR", ["web.blue.bgpctl."])),
        ("1.1.244.10.in-addr.arpa", "A", ("NOERROR", [])),
        ("9.1.244.10.in-addr.arpa", "PTR", ("NXDOMAIN", [])),
        ("1.2.0.192.in-addr.arpa", "PTR", None),
        ("10.in-addr.arpa", "NS", None),
        ("www.example", "A", None),
        ("notbgpctl", "A", None),
        (".", "NS", None),
    ],
)
def test_a_question_has_this_answer(name: str, kind: str, expected: tuple[str, list[str]] | None) -> None:
    assert asked(name, kind) == expected


def test_while_not_all_is_known_a_name_is_not_said_to_be_missing() -> None:
    partly = replace(ZONE, is_complete=False)
    assert asked("other.blue.bgpctl", within=partly) == ("SERVFAIL", [])
    assert asked("9.1.244.10.in-addr.arpa", "PTR", within=partly) == ("SERVFAIL", [])
    assert asked("web.blue.bgpctl", within=partly) == ("NOERROR", ["10.244.1.1"])


def test_what_does_not_fit_is_left_out_and_the_answer_says_so() -> None:
    many = tuple(Address(4, ONE.value + number) for number in range(200))
    found = zone([Named("blue", ("web",), many)], lambda _: True, is_complete=True)
    for payload, largest in ((None, 512), (4096, 1232)):
        message = dns.message.make_query("web.blue.bgpctl", "A", use_edns=payload is not None, payload=payload)
        question = answers.read(message.to_wire())
        assert isinstance(question, Question)
        assert question.largest_bytes == largest
        answer = answers.answered(question, found, is_ours)
        assert answer
        short = dns.message.from_wire(answers.written(answer, question.largest_bytes))
        assert short.flags & dns.flags.TC
        assert (short.id, short.answer) == (message.id, [])
        assert len(dns.message.from_wire(answers.written(answer, 65535)).answer[0]) == 200


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", None),
        (b"\0" * 11, None),
        (b"\x12\x34\x80" + bytes(9), None),
        (b"\x12\x34\x00" + bytes(9), "FORMERR"),
        (b"\x12\x34\x01\x00\x00\x01" + bytes(6), "FORMERR"),
        (b"\x12\x34\x29\x00" + bytes(8), "NOTIMP"),
        (dns.message.make_query("web.blue.bgpctl", "AXFR", id=7).to_wire(), "REFUSED"),
        (dns.message.make_query("web.blue.bgpctl", "A", rdclass="CH", id=7).to_wire(), "REFUSED"),
        (dns.message.make_query("web.blue.bgpctl", "A", use_edns=1, id=7).to_wire(), "BADVERS"),
    ],
)
def test_what_is_no_question_for_us_has_a_short_answer_or_none(content: bytes, code: str | None) -> None:
    answer = answers.read(content)
    assert not isinstance(answer, Question)
    if code is None:
        assert answer is None
        return
    assert answer
    assert dns.rcode.to_text(dns.message.from_wire(answer).rcode()) == code
    assert answer[:2] == content[:2]


def test_a_refusal_is_no_longer_than_the_question() -> None:
    question = dns.message.make_query("www.example", "A").to_wire()
    answer = answers.refused(question)
    assert answer
    assert len(answer) <= len(question)
    assert answers.refused(answer) is None


# Clients ---------------------------------------------------------------------------------------------------------


def test_a_client_is_a_workload_by_its_own_link() -> None:
    clients = Clients(lambda: {ONE: "cali1"}, lambda: 0.0)
    assert clients.device_of(ONE, "cali1") == "cali1"
    assert clients.device_of(ONE, "eth0") is None
    assert clients.device_of(ONE, "") is None
    assert clients.device_of(TWO, "cali1") is None
    assert clients.device_of(ONE, None) == "cali1"


def test_a_client_has_its_own_rate_and_no_more_are_kept_than_ask() -> None:
    now_s = 0.0
    clients = Clients(dict, lambda: now_s)
    assert sum(clients.may_ask("cali1") for _ in range(1000)) == BURST
    assert clients.may_ask("cali2")
    now_s = 1.0
    assert sum(clients.may_ask("cali1") for _ in range(1000)) == RATE
    now_s = 100.0
    assert clients.may_ask("cali3")
    assert set(clients._buckets) == {"cali3"}
    assert sum(clients.may_be_refused() for _ in range(1000)) == BURST / 10


# Other resolvers -------------------------------------------------------------------------------------------------


def test_other_resolvers_are_those_of_the_host_without_ourselves_and_as_the_file_is_now(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    forwarder = Forwarder((), frozenset({"169.254.1.1"}), file)
    assert forwarder.upstreams() == ()
    file.write_text("# a comment\nsearch example\nnameserver 169.254.1.1\nnameserver 192.0.2.1\nnameserver\n")
    assert forwarder.upstreams() == (Upstream("192.0.2.1"),)
    new = file.with_name("new")
    new.write_text("nameserver 192.0.2.2\nnameserver fd00::1\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n")
    new.replace(file)
    assert [upstream.host for upstream in forwarder.upstreams()] == ["192.0.2.2", "fd00::1", "192.0.2.3"]
    file.unlink()
    assert [upstream.host for upstream in forwarder.upstreams()] == ["192.0.2.2", "fd00::1", "192.0.2.3"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", Upstream("192.0.2.1", 53)),
        ("192.0.2.1:5353", Upstream("192.0.2.1", 5353)),
        ("fd00::1", Upstream("fd00::1", 53)),
        ("[fd00::1]:5353", Upstream("fd00::1", 5353)),
    ],
)
def test_another_resolver_is_an_address_with_or_without_a_port(text: str, expected: Upstream) -> None:
    assert forward.upstream_of(text) == expected


@pytest.mark.parametrize("text", ["", "dns.example", "192.0.2.1:0", "192.0.2.1:x", "192.0.2.1:99999"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        forward.upstream_of(text)


# Records ---------------------------------------------------------------------------------------------------------


def test_a_record_is_read_as_it_was_written() -> None:
    names = (Named("blue", ("web", "w"), (ONE, SIX)), Named("six", ("db",), (SIX,)))
    assert read_record(written_record(names)) == names
    assert read_record(written_record(())) == ()


def test_a_record_is_bounded() -> None:
    names = tuple(Named("blue", (f"web-{number}",), (ONE,)) for number in range(30_000))
    text = written_record(names)
    assert len(text) < 1 << 20
    assert read_record(text) == names[: len(read_record(text))]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", BadRecord),
        ("[]", BadRecord),
        ('{"format": 1}', BadRecord),
        ('{"format": 2, "workloads": []}', NewerFormat),
        ('{"format": 1, "workloads": [{"network": "blue", "names": ["a"], "addresses": ["x"]}]}', BadRecord),
    ],
)
def test_a_record_that_is_none_is_not_believed(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_record(text)
