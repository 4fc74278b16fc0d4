"""
Reading typed values out of a located tree, with all problems collected.

Refuses to know: the meaning of the values together (check.py).
"""

from __future__ import annotations

import difflib
import enum
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from bgpctl.core.cluster.problems import Place, Problem, Severity
from bgpctl.core.intent.tree import Mapping, Scalar, Sequence, Tree, is_nothing, kind_of, shown
from bgpctl.core.net.addresses import Address, Asn, InterfaceAddress, Mac, Prefix

T = TypeVar("T")
E = TypeVar("E", bound=enum.Enum)

_LABEL: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_NAME: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_LONGEST_NAME: Final = 253
_LONGEST_KEY: Final = 60
NOT_KNOWN: Final = "not-known"
"""The rule of keys and kinds that a newer release may have."""
_SHORTEST_MISSPELT: Final = 4
"""One letter of a shorter word is too much of it: `mtu` is no misspelt `mtp`."""
_SEPARATORS: Final = str.maketrans("", "", "-_. ")
_GROUP_BIT: Final = 1
"""Of a MAC address's first octet: set, it names a group."""
_PLAIN_ADDRESS: Final = re.compile(r"[0-9a-fA-F.:]+(/[0-9]{1,3})?")
"""No zone (fe80::1%eth0) and no dotted mask, which Python would take."""
_DOTTED_ASN: Final = re.compile(r"([0-9]{1,5})\.([0-9]{1,5})")
_QUOTED_BOOLEANS: Final = ("true", "false")
_NUMBER: Final = re.compile(r"[0-9]{1,10}")
_MAX_ASN: Final = 4294967295


class Wrong(ValueError):
    """A value that can be read and breaks a rule; `rule` is the one that is reported then."""

    def __init__(self, message: str, rule: str) -> None:
        super().__init__(message)
        self.rule = rule


class Problems:
    """A list that problems are added to."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, place: Place, path: str, message: str, rule: str, severity: Severity = Severity.ERROR) -> None:
        """Note one problem; reading goes on. Text of a file is quoted, and must not spoil a terminal."""
        safe = message if message.isprintable() else message.encode("unicode_escape").decode("ascii")
        self.found.append(Problem(place, path, safe, rule, severity))

    def sorted(self) -> tuple[Problem, ...]:
        """All of them, in the order of the files, each once."""
        return tuple(sorted(set(self.found)))


class Fields:
    """
    One mapping being read. Each reader method takes a key, notes a problem if the value is wrong,
    and returns None then, as it does for an absent key. `finish` reports the keys that were not read.
    """

    def __init__(
        self, tree: Tree, path: str, problems: Problems, place: Place | None = None, *, foreign: bool = False
    ) -> None:
        """
        `place` is where the whole stands for messages: its name, if it has one. In a `foreign` mapping, as those of
        Calico are, newer releases may have keys that are not known here.
        """
        self.place = place or tree.place
        self.path = path
        self.problems = problems
        self._foreign = foreign
        self._known: list[str] = []
        self._tree = tree if isinstance(tree, Mapping) else Mapping(tree.place, {}, {})
        self._is_misshapen = not isinstance(tree, Mapping) and not is_nothing(tree)
        if self._is_misshapen:
            problems.add(tree.place, path, f"a mapping is needed here, not {kind_of(tree)}", "type")
        for key, again in self._tree.repeated:
            message = f"the key is given twice, first at {self._tree.keys[key]}"
            problems.add(again, self.under(key), message, "duplicate-key")

    def strict(self) -> Fields:
        """The same mapping, in which every key that is not known is an error."""
        return Fields(self._tree, self.path, self.problems, self.place)

    def at(self, key: str) -> Place:
        """Where the value of `key` stands; the mapping itself if it is absent."""
        tree = self._tree.items.get(key)
        return tree.place if tree else self.place

    def under(self, key: str) -> str:
        """The path of `key`."""
        return f"{self.path}.{shown(key)}" if self.path else shown(key)

    def wrong(self, key: str, message: str, rule: str, severity: Severity = Severity.ERROR) -> None:
        """Note a problem with the value of `key`."""
        self.problems.add(self.at(key), self.under(key), message, rule, severity)

    def has(self, key: str) -> bool:
        """True if the key is there with a value."""
        tree = self._tree.items.get(key)
        return tree is not None and not is_nothing(tree)

    def listed(self, key: str) -> bool:
        """True if the key is there, be it with nothing."""
        return key in self._tree.items

    def names(self) -> list[str]:
        """The keys that are there."""
        return list(self._tree.items)

    def tree(self, key: str) -> Tree | None:
        """The value as it is; the key counts as known."""
        self._known.append(key)
        return self._tree.items.get(key) if self.has(key) else None

    def ignore(self, *keys: str) -> None:
        """Keys that may be there and do not matter here."""
        self._known += keys

    def need(self, what: str, *keys: str) -> None:
        """Report the keys that are absent and must not be; `what` is what needs them."""
        for key in keys:
            if not self.has(key) and not self._is_misshapen:
                self.problems.add(self.place, self.path, f"{what} needs {key}", "missing")

    def unsupported(self, instead: str, *keys: str) -> None:
        """Keys that are right in Calico and whose loss would change the behaviour here; `instead` names the remedy."""
        self._mention(keys, f"not supported here; {instead}", "unsupported", Severity.ERROR)

    def risky(self, because: str, *keys: str) -> None:
        """Keys without effect here whose writer may count on their effect."""
        self._mention(keys, f"no effect here: {because}", "no-effect", Severity.WARNING)

    def no_effect(self, because: str, *keys: str) -> None:
        """Keys that are right in Calico and change nothing here: reported, so that no key is dropped in silence."""
        self._mention(keys, f"understood, no effect here: {because}", "no-effect", Severity.INFO)

    def bookkeeping(self, *keys: str) -> None:
        """Keys that a datastore writes for itself, in one remark."""
        self._known += keys
        given = ", ".join(key for key in keys if self.has(key))
        if given:
            message = f"understood, no effect here: bookkeeping of the datastore ({given})"
            self.problems.add(self.place, self.path, message, "no-effect", Severity.INFO)

    def joined(self, other: Fields, *keys: str) -> Fields:
        """The mapping with some keys of another one, which need not be asked for there any more."""
        moved = [key for key in keys if key in other._tree.items]
        other._known += moved
        items = {**self._tree.items, **{key: other._tree.items[key] for key in moved}}
        places = {**self._tree.keys, **{key: other._tree.keys[key] for key in moved}}
        joined = Mapping(self._tree.place, items, places)
        return Fields(joined, self.path, self.problems, self.place, foreign=self._foreign)

    def _mention(self, keys: Iterable[str], message: str, rule: str, severity: Severity) -> None:
        """Empty ones are not reported."""
        for key in keys:
            self._known.append(key)
            tree = self._tree.items.get(key)
            empty = isinstance(tree, Mapping | Sequence) and not tree.items
            if self.has(key) and not empty:
                self.problems.add(self._tree.keys[key], self.under(key), message, rule, severity)

    def finish(self) -> None:
        """
        Report the keys that were not read: a misspelt key must not be lost in silence.

        In a foreign mapping only one that looks like a known key is an error: others may be of a newer release.
        """
        for key, place in self._tree.keys.items():
            if key in self._known:
                continue
            if self._foreign and not any(is_misspelt(key, known) for known in self._known):
                message = "no effect here: the key is not known to this version of bgpctl"
                self.problems.add(place, self.under(key), message, NOT_KNOWN, Severity.INFO)
            else:
                self.problems.add(place, self.under(key), f"unknown key; {self._hint(key)}", "unknown-key")

    def _hint(self, key: str) -> str:
        known = sorted(set(self._known))
        misspelt = [other for other in known if is_misspelt(key, other)]
        near = misspelt or (difflib.get_close_matches(key, known, n=1) if len(key) <= _LONGEST_KEY else [])
        return f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"

    # Shapes ----------------------------------------------------------------------------------------------------

    def fields(self, key: str) -> Fields | None:
        """A nested mapping."""
        tree = self.tree(key)
        return None if tree is None else self._nested(tree, self.under(key))

    def _nested(self, tree: Tree, path: str) -> Fields:
        return Fields(tree, path, self.problems, foreign=self._foreign)

    def entries(self, key: str) -> Iterator[tuple[str, Fields]]:
        """A mapping of named mappings."""
        tree = self.tree(key)
        if tree is None:
            return
        named = Fields(tree, self.under(key), self.problems)
        for name, value in named._tree.items.items():
            yield name, Fields(value, named.under(name), self.problems, named._tree.keys[name])

    def items(self, key: str) -> Iterator[tuple[str, Tree]]:
        """(path, tree) of each item of a list."""
        tree = self.tree(key)
        if isinstance(tree, Sequence):
            yield from ((f"{self.under(key)}[{index}]", item) for index, item in enumerate(tree.items))
        elif tree is not None:
            self.wrong(key, f"a list is needed here, not {kind_of(tree)}", "type")

    def each(self, key: str) -> Iterator[Fields]:
        """The mappings of a list."""
        for path, item in self.items(key):
            yield self._nested(item, path)

    def values(self, key: str, read: Callable[[Scalar], T], rule: str) -> tuple[T, ...]:
        """The items of a list of scalars, made by `read`, without those that it refuses."""
        found = (scalar(item, path, self.problems, read, rule) for path, item in self.items(key))
        return tuple(value for value in found if value is not None)

    # Values ----------------------------------------------------------------------------------------------------

    def text(self, key: str) -> str | None:
        """Any scalar, as it was written."""
        return self.value(key, lambda scalar: scalar.text, "text")

    def file_name(self, key: str) -> str | None:
        """A path, as it was written."""
        return self.value(key, _file_name, "file-name")

    def name(self, key: str) -> str | None:
        """A DNS-1123 name."""
        return self.value(key, dns_name, "name")

    def boolean(self, key: str) -> bool | None:
        """True or false."""
        return self.value(key, _boolean, "boolean")

    def integer(self, key: str, low: int, high: int) -> int | None:
        """A whole number from `low` to `high`."""
        return self.value(key, lambda scalar: _integer(scalar, low, high), "range")

    def asn(self, key: str) -> Asn | None:
        """An AS number, 1 to 4294967295, also in dotted form."""
        return self.value(key, asn, "asn")

    def choice(self, key: str, kind: type[E]) -> E | None:
        """One of the values of an enum."""
        return self.value(key, lambda scalar: choice(scalar, kind), "choice")

    def one_of(self, key: str, values: Iterable[str]) -> str | None:
        """One of some words."""
        allowed = list(values)
        return self.value(key, lambda scalar: _word(scalar, allowed), "choice")

    def words(self, key: str, values: Iterable[str]) -> tuple[str, ...]:
        """A list of some of these words."""
        allowed = list(values)
        return self.values(key, lambda scalar: _word(scalar, allowed), "choice")

    def prefix(self, key: str) -> Prefix | None:
        """A network without host bits."""
        return self.value(key, lambda scalar: parse_prefix(scalar.text), "cidr")

    def address(self, key: str) -> Address | None:
        """A bare address."""
        return self.value(key, lambda scalar: parse_address(scalar.text), "address")

    def interface(self, key: str) -> InterfaceAddress | None:
        """An address with or without a mask."""
        return self.value(key, lambda scalar: parse_interface(scalar.text), "address")

    def mac(self, key: str) -> Mac | None:
        """A MAC address."""
        return self.value(key, _mac, "mac")

    def value(self, key: str, read: Callable[[Scalar], T], rule: str) -> T | None:
        """The value that `read` makes of a scalar; it raises ValueError in words."""
        tree = self.tree(key)
        if tree is None:
            return None
        return scalar(tree, self.under(key), self.problems, read, rule)


def scalar(tree: Tree, path: str, problems: Problems, read: Callable[[Scalar], T], rule: str) -> T | None:
    """The value that `read` makes of a scalar; a ValueError of it becomes a problem."""
    if not isinstance(tree, Scalar):
        problems.add(tree.place, path, f"a single value is needed here, not {kind_of(tree)}", "type")
        return None
    try:
        return read(tree)
    except ValueError as error:
        problems.add(tree.place, path, str(error), error.rule if isinstance(error, Wrong) else rule)
        return None


def parse_prefix(text: str) -> Prefix:
    """Raises ValueError with the network that was meant, if host bits are set."""
    try:
        interface = InterfaceAddress.parse(_plain(text))
    except ValueError:
        raise ValueError(f"{shown(text)} is not a network such as 10.244.0.0/16") from None
    if "/" not in text:
        raise ValueError(f"{text} has no prefix length, as in {text}/{interface.length}")
    if interface.network.first != interface.address:
        raise ValueError(f"{text} has host bits set; the network is {interface.network}")
    return interface.network


def parse_address(text: str) -> Address:
    """Raises ValueError in words."""
    try:
        return Address.parse(_plain(text))
    except ValueError:
        raise ValueError(f"{shown(text)} is not an IP address") from None


def parse_interface(text: str) -> InterfaceAddress:
    """Raises ValueError in words."""
    try:
        return InterfaceAddress.parse(_plain(text))
    except ValueError:
        raise ValueError(f"{shown(text)} is not an address such as 10.0.0.1/24") from None


def _plain(text: str) -> str:
    if not _PLAIN_ADDRESS.fullmatch(text):
        raise ValueError(text)
    return text


def is_misspelt(word: str, known: str) -> bool:
    """
    True if the word is probably meant to be the known one: it differs in capitals, hyphens and the like, or by one
    letter that is left out, added, another one, or exchanged with the next. `ipv4Address` is no misspelt `ipv6Address`.
    """
    word, known = _folded(word), _folded(known)
    if word == known:
        return True
    start = _alike(word, known)
    rest = word[start:], known[start:]
    end = _alike(rest[0][::-1], rest[1][::-1])
    ours, theirs = (text[: len(text) - end] for text in rest)
    is_exchanged = len(ours) == 2 and ours == theirs[::-1]
    is_one_letter = len(ours) <= 1 and len(theirs) <= 1 and not (ours + theirs).isdigit()
    return min(len(word), len(known)) >= _SHORTEST_MISSPELT and (is_exchanged or is_one_letter)


def _alike(one: str, other: str) -> int:
    """How many letters both begin with."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (ours, theirs) in enumerate(pairs) if ours != theirs), min(len(one), len(other)))


def _folded(word: str) -> str:
    return word.lower().translate(_SEPARATORS)


def is_name(text: str) -> bool:
    """True if it is a DNS-1123 name, as Kubernetes and Calico want for objects."""
    return len(text) <= _LONGEST_NAME and _NAME.fullmatch(text) is not None


def not_a_name(text: str) -> str:
    """The problem's words."""
    return f"{shown(text)} is not a DNS name (RFC 1123: lower-case letters, digits, '-' and '.', up to 253)"


def dns_name(scalar: Scalar) -> str:
    """Raises ValueError in words."""
    if not is_name(scalar.text):
        raise ValueError(not_a_name(scalar.text))
    return scalar.text


def _file_name(scalar: Scalar) -> str:
    if "\0" in scalar.text:
        raise ValueError(f"{shown(scalar.text)} has a NUL, and is no name of a file")
    return scalar.text


def _boolean(scalar: Scalar) -> bool:
    if scalar.value in _QUOTED_BOOLEANS:
        raise ValueError(f'"{scalar.text}" is quoted, so it is text; without the quotes it is {scalar.text}')
    if not isinstance(scalar.value, bool):
        raise ValueError(f"{shown(scalar.text)} is neither true nor false")  # noqa: TRY004 (the value is wrong, not our code)
    return scalar.value


def _integer(scalar: Scalar, low: int, high: int) -> int:
    if isinstance(scalar.value, str) and _NUMBER.fullmatch(scalar.value):
        raise ValueError(f'"{scalar.text}" is quoted, so it is text; without the quotes it is a number')
    if not isinstance(scalar.value, int) or isinstance(scalar.value, bool) or not low <= scalar.value <= high:
        raise ValueError(f"{shown(scalar.text)} is not a whole number from {low} to {high}")
    return scalar.value


def asn(scalar: Scalar) -> Asn:
    """Raises ValueError in words."""
    dotted = _DOTTED_ASN.fullmatch(scalar.text)
    if dotted:
        high, low = map(int, dotted.groups())
        number = high * 65536 + low if max(high, low) < 65536 else 0
    else:
        number = int(scalar.text) if _NUMBER.fullmatch(scalar.text) else 0
    if not 1 <= number <= _MAX_ASN:
        raise ValueError(f"{shown(scalar.text)} is not an AS number (1 to {_MAX_ASN})")
    return Asn(number)


def choice(scalar: Scalar, kind: type[E]) -> E:
    """Raises ValueError in words, with the value that was probably meant."""
    try:
        return kind(scalar.text)
    except ValueError:
        raise ValueError(_not_among(scalar.text, [member.value for member in kind])) from None


def _word(scalar: Scalar, allowed: list[str]) -> str:
    if scalar.text not in allowed:
        raise ValueError(_not_among(scalar.text, allowed))
    return scalar.text


def _not_among(text: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(text[:_LONGEST_KEY], allowed, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{shown(text)} is none of {', '.join(allowed)}{hint}"


def _mac(scalar: Scalar) -> Mac:
    return parse_mac(scalar.text)


def parse_mac(text: str) -> Mac:
    """A unicast MAC address in any usual notation. Raises ValueError in words."""
    from netaddr import EUI, mac_unix_expanded, valid_mac  # noqa: PLC0415 (few clusters state one)

    # Any notation that engineers use: 66:f9:37:c3:7e:94, 66-F9-37-C3-7E-94, 66f9.37c3.7e94.
    mac = EUI(text, dialect=mac_unix_expanded) if valid_mac(text) else None
    if mac is None or mac.words[0] & _GROUP_BIT:
        raise ValueError(f"{shown(text)} is not a unicast MAC address such as 66:f9:37:c3:7e:94")
    return Mac(str(mac))
