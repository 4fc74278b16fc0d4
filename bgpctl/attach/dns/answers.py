"""
Questions about workloads answered from a zone, as messages of DNS (RFC 1034, 1035, 2308, 6891).

The domain `bgpctl` is answered here alone: no question below it ever leaves the host. So is the reverse name of an
address of the pools. All else is for the host's own resolvers.

Refuses to know: sockets, other resolvers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import dns.rrset

from bgpctl.core.ipam.names import DOMAIN, Zone
from bgpctl.core.net.addresses import Address

TTL_S: Final = 5
"""Of answers and of what is not there: a container that starts again has another address."""
LARGEST_BYTES: Final = 1232
"""Of a datagram: it is fragmented on no path (dnsflagday.net 2020)."""
_SMALLEST_BYTES: Final = 512
_HEADER_BYTES: Final = 12
_RESPONSE: Final = 0x80
_DOMAIN: Final = dns.name.from_text(DOMAIN)
_SOA: Final = f"{DOMAIN}. hostmaster.{DOMAIN}. 1 3600 600 86400 {TTL_S}"
_REVERSE: Final = (dns.reversename.ipv4_reverse_domain, dns.reversename.ipv6_reverse_domain)
_VERSION_OF: Final = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}
_TRANSFERS: Final = frozenset({dns.rdatatype.AXFR, dns.rdatatype.IXFR})

Message = dns.message.Message


@dataclass(frozen=True, slots=True)
class Question:
    """A message that asks one question; `largest_bytes` may an answer by UDP have."""

    message: dns.message.Message
    largest_bytes: int

    @property
    def name(self) -> dns.name.Name:
        return self.message.question[0].name

    @property
    def type(self) -> dns.rdatatype.RdataType:
        return self.message.question[0].rdtype


def read(content: bytes) -> Question | bytes | None:
    """The question; or the answer to what is none; or None for what gets no answer."""
    if len(content) < _HEADER_BYTES or content[2] & _RESPONSE:
        return None
    try:
        message = dns.message.from_wire(content)
    except (dns.exception.DNSException, ValueError):
        return _header_alone(content, dns.rcode.FORMERR)
    if message.opcode() != dns.opcode.QUERY:
        return _header_alone(content, dns.rcode.NOTIMP)
    if len(message.question) != 1:
        return _header_alone(content, dns.rcode.FORMERR)
    largest = max(_SMALLEST_BYTES, min(message.payload if message.edns >= 0 else 0, LARGEST_BYTES))
    question = Question(message, largest)
    if message.edns > 0:
        return written(failure(question, dns.rcode.BADVERS), largest)
    if message.question[0].rdclass != dns.rdataclass.IN or question.type in _TRANSFERS:
        return written(failure(question, dns.rcode.REFUSED), largest)
    return question


def _header_alone(content: bytes, code: dns.rcode.Rcode) -> bytes:
    """The answer to a message whose rest is not understood: its id and its kind, and no question."""
    asked = content[2] & 0x79  # opcode and RD
    return content[:2] + bytes((_RESPONSE | asked, int(code))) + bytes(8)


def refused(content: bytes) -> bytes | None:
    """The answer to one who is not served, no longer than a question; None for what is none."""
    if len(content) < _HEADER_BYTES or content[2] & _RESPONSE:
        return None
    return _header_alone(content, dns.rcode.REFUSED)


def failure(question: Question, code: dns.rcode.Rcode) -> Message:
    """An answer without any record."""
    answer = dns.message.make_response(question.message, recursion_available=True, our_payload=LARGEST_BYTES)
    answer.set_rcode(code)
    return answer


def answered(question: Question, zone: Zone, is_ours: Callable[[Address], bool]) -> Message | None:
    """The answer from the zone; None if the question is for other resolvers. `is_ours`: an address of the pools."""
    if question.name.is_subdomain(_DOMAIN):
        return _of_name(question, zone)
    if any(question.name.is_subdomain(reverse) for reverse in _REVERSE):
        return _of_address(question, zone, is_ours)
    return None


def _of_name(question: Question, zone: Zone) -> Message:
    found = zone.addresses.get(question.name.to_text(omit_final_dot=True).lower())
    if found is None:
        return _missing(question, zone)
    answer = _authoritative(question)
    for kind, version in _VERSION_OF.items():
        texts = [str(address) for address in found if address.version == version]
        if texts and question.type in {kind, dns.rdatatype.ANY}:
            answer.answer.append(dns.rrset.from_text_list(question.name, TTL_S, "IN", kind, texts))
    if question.name == _DOMAIN and question.type in {dns.rdatatype.SOA, dns.rdatatype.ANY}:
        answer.answer.append(_soa())
    return answer if answer.answer else _without(answer)


def _of_address(question: Question, zone: Zone, is_ours: Callable[[Address], bool]) -> Message | None:
    try:
        address = Address.parse(dns.reversename.to_address(question.name))
    except (dns.exception.DNSException, ValueError):
        return None  # of a network, or no address
    name = zone.names.get(address)
    if name is None:
        return _missing(question, zone) if is_ours(address) else None
    answer = _authoritative(question)
    if question.type in {dns.rdatatype.PTR, dns.rdatatype.ANY}:
        answer.answer.append(dns.rrset.from_text(question.name, TTL_S, "IN", "PTR", f"{name}."))
    return answer if answer.answer else _without(answer)


def _missing(question: Question, zone: Zone) -> Message:
    """It does not exist; or that is not known yet, and then it is not said."""
    if not zone.is_complete:
        return failure(question, dns.rcode.SERVFAIL)
    answer = _authoritative(question)
    answer.set_rcode(dns.rcode.NXDOMAIN)
    return _without(answer)


def _authoritative(question: Question) -> Message:
    answer = failure(question, dns.rcode.NOERROR)
    answer.flags |= dns.flags.AA
    return answer


def _without(answer: Message) -> Message:
    """With the SOA, from which the time is that nothing is there (RFC 2308 section 3)."""
    answer.authority.append(_soa())
    return answer


def _soa() -> dns.rrset.RRset:
    return dns.rrset.from_text(_DOMAIN, TTL_S, "IN", "SOA", _SOA)


def written(answer: Message, largest_bytes: int) -> bytes:
    """As bytes; what does not fit is left out, and the answer says so (TC)."""
    try:
        return answer.to_wire(max_size=largest_bytes)
    except dns.exception.TooBig:
        short = dns.message.make_response(dns.message.make_query(answer.question[0].name, answer.question[0].rdtype))
        short.id, short.flags = answer.id, answer.flags | dns.flags.TC
        if answer.edns >= 0:
            short.use_edns(0, payload=LARGEST_BYTES)
        return short.to_wire()
