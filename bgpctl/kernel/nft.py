"""
Our nftables tables: each replaced whole at one moment, listed as JSON, and watched.

Where a transaction adds a set of intervals and rules that use it, the kernel (6.18) has the rules in force before the
set has its elements, for as long as the process that commits is not interrupted: packets then find it empty, and those
that it should let pass are dropped. So a table with such sets is made beside the one in force, without a hook, and gets
its hooks in a second transaction, which removes the other. Each of the two has one of two names, and for the callers
they have the first.

Refuses to know: the purpose of the tables.
"""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from bgpctl.kernel.netlink import (
    NETLINK_ADD_MEMBERSHIP,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    SOL_NETLINK,
    Message,
    attributes,
    messages,
)

P = ParamSpec("P")
T = TypeVar("T")

OURS: Final = "bgpctl"
"""How the names of our tables begin."""
_REPLACING: Final = threading.Lock()
"""Other threads of this process read no table that is half replaced."""
_SECOND: Final = "_b"
_INTERVALS: Final = "flags interval"
_STATE_MATCHES: Final = frozenset({("match", "conntrack"), ("match", "state")})
_STATE: Final = re.compile(r"\bct state (! |!= )?([a-z]+(?:,[a-z]+)*)\b")
_CONNTRACK: Final = re.compile(r"\b(?:ct [a-z]+ |xt match \"(?:conntrack|state)\")")
_HANDLE: Final = re.compile(r"# handle (\d+)$")
_BLOCK: Final = re.compile(r"^[ ]*chain [^\n]*\{\n(?:[^\n]*\n)*?[ ]*\}(?:\n|$)|^[^\n]+(?:\n|$)|\n", re.MULTILINE)
"""A chain, to the line that is only its end; or another line."""
_DISTINGUISHED: Final = (errno.EPERM, errno.ENOENT, errno.EPROTONOSUPPORT)
"""Errnos that the text of nft's complaint identifies."""
_ANSWER_S: Final = 10.0
_NETLINK_NETFILTER: Final = 12
_NFNLGRP_NFTABLES: Final = 7
_NFT_MSG_NEWGEN: Final = 15
_NFT_MSG_GETGEN: Final = 10 << 8 | 16  # NFNL_SUBSYS_NFTABLES
_NFT_MSG_ANSWERED: Final = 10 << 8 | _NFT_MSG_NEWGEN
_NFT_MSG_GETTABLE: Final = 10 << 8 | 1
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_DUMP_INTR: Final = 0x10
_FAMILIES: Final = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
"""NFPROTO_…, in nft's words."""
_GENERATION: Final = 1  # NFTA_GEN_ID
_HEADER_BYTES: Final = 16
_NFGENMSG_BYTES: Final = 4
_TABLE_NAME: Final = 1  # NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE, NFTA_SET_TABLE, … are all 1
_TABLE_FLAGS: Final = 2  # NFTA_TABLE_FLAGS
_DORMANT: Final = 1  # NFT_TABLE_F_DORMANT
_EVENT_BYTES: Final = 1 << 16


def replace(table: str, body: str, family: str = "ip") -> None:
    """Make the table contain exactly `body`. Raises OSError with nft's complaint."""
    replace_all(table, {family: body})


def replace_all(table: str, bodies: Mapping[str, str], also: Iterable[str] = ()) -> None:
    """
    Make the tables of this name contain exactly these bodies, by family, and remove those of the families `also`, all
    at one moment. A chain with a hook begins and ends with lines of its own. Raises OSError with nft's complaint.
    """
    with _REPLACING:
        _replace_all(table, bodies, (*bodies, *also))


def _replace_all(table: str, bodies: Mapping[str, str], families: Collection[str]) -> None:
    found = _flags_of_tables()
    in_force = {name for name in _names(table) for family in families if (family, name) in found}
    new = next((name for name in _names(table) if name not in in_force), table)
    if new in in_force or not any(_INTERVALS in body for body in bodies.values()):
        _run(["-f", "-"], "".join((*_without(table, families), *_made(table, bodies))))
        return
    parts = {family: _divided(body) for family, body in bodies.items()}
    _run(["-f", "-"], "".join(_made(new, {family: declared for family, (declared, _) in parts.items()})))
    hooked = _made(new, {family: hooked for family, (_, hooked) in parts.items()})
    gone = (_destroyed(family, name) for family in families for name in _names(table) if name != new)
    try:
        _run(["-f", "-"], "".join((*hooked, *gone)))
    except OSError as error:
        # After a timeout the new one may be the only one there is; `listed` knows it where it is not.
        if error.errno != errno.ETIMEDOUT:
            _run(["-f", "-"], "".join(_destroyed(family, new) for family in bodies))
        raise


def _made(table: str, bodies: Mapping[str, str]) -> Iterator[str]:
    return (f"table {family} {table} {{\n{body}\n}}\n" for family, body in bodies.items())


def _divided(body: str) -> tuple[str, str]:
    """All but the chains that have a hook, and these."""
    parts: tuple[list[str], list[str]] = ([], [])
    for block in _BLOCK.findall(body):
        parts[" hook " in block].append(block)
    return "".join(parts[False]), "".join(parts[True])


def add_chain(table: str, family: str, name: str) -> None:
    """Add a chain to which nothing leads. Raises OSError with nft's complaint."""
    _run(["add", "chain", family, in_force(table, family), name])


def remove(table: str, family: str = "ip") -> None:
    """Delete the table; absent is no error. Raises OSError with nft's complaint."""
    _run(["-f", "-"], "".join(_without(table, (family,))))


def listed(table: str, family: str = "ip") -> list[dict[str, Any]]:
    """
    The table's sets, chains and rules as `nft -j` shows them; empty where there is no such table, no nft, or a kernel
    without nftables. Of a table that is dormant, or half replaced, only that: not all of its rules are in force.

    Raises:
        OSError: with nft's complaint.
    """
    with _REPLACING:
        return _listed(table, family)


def _listed(table: str, family: str) -> list[dict[str, Any]]:
    flags = _flags_of_tables()
    names = [name for name in _names(table) if (family, name) in flags]
    if not names:
        return []
    if len(names) > 1 or flags[family, names[0]] & _DORMANT:
        return [{"table": {"family": family, "name": table, "flags": ["dormant"]}}]
    try:
        text = _run(["-j", "list", "table", family, names[0]])
    except OSError as error:
        if error.errno in (errno.ENOPKG, errno.ENOENT, errno.EPROTONOSUPPORT):
            return []
        raise
    return list(json.loads(text)["nftables"])


def of_ours(parse: Callable[P, T | None]) -> Callable[P, T | None]:
    """
    A reader of what `listed` gives, with None for what it does not understand: any program may write anything into our
    tables, and newer versions of nft may show it in another form.
    """

    @wraps(parse)
    def parsed(*args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return parse(*args, **kwargs)
        except (AttributeError, LookupError, TypeError, ValueError):
            return None

    return parsed


def tables() -> list[tuple[str, str]]:
    """
    Family and name of every table; none where the kernel has no nftables. Asked of the kernel itself, since a process
    would cost more than all else that a node without tables does at its start. Raises OSError.
    """
    return list({(family, _first_name(name)): None for family, name in _flags_of_tables()})


def in_force(table: str, family: str = "ip") -> str:
    """The name under which the kernel has the table now; the first one where it has none. Raises OSError."""
    found = _flags_of_tables()
    return next((name for name in _names(table) if (family, name) in found), table)


def _names(table: str) -> tuple[str, str]:
    return table, table + _SECOND


def _first_name(name: str) -> str:
    return name.removesuffix(_SECOND) if name.startswith(OURS) else name


def _flags_of_tables() -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] | None = None
    while found is None:
        found = _tables()
    return found


def _tables() -> dict[tuple[str, str], int] | None:
    """The flags of each; None if they changed meanwhile."""
    found: dict[tuple[str, str], int] = {}
    for message in _answers(_NFT_MSG_GETTABLE, NLM_F_DUMP):
        if message.type == _NLMSG_ERROR:
            (code,) = struct.unpack_from("=i", message.body)
            raise OSError(-code, os.strerror(-code))
        if message.flags & _NLM_F_DUMP_INTR:
            return None
        of_table = attributes(message.body, _NFGENMSG_BYTES)
        name = of_table[_TABLE_NAME].rstrip(b"\0").decode()
        flags = int.from_bytes(of_table.get(_TABLE_FLAGS, b""), "big")
        found[_FAMILIES.get(message.body[0], "unknown"), name] = flags
    return found


def generation() -> int | None:
    """A number that changes with every change of any table; None where the kernel has no nftables. Raises OSError."""
    for message in _answers(_NFT_MSG_GETGEN):
        if message.type == _NFT_MSG_ANSWERED:
            return int.from_bytes(attributes(message.body, _NFGENMSG_BYTES)[_GENERATION], "big")
    return None


def _answers(kind: int, flags: int = 0) -> Iterator[Message]:
    """The kernel's answers to a question, the last of them maybe an error; none without nftables. Raises OSError."""
    try:
        asking = _open()
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
            return
        raise
    with asking:
        asking.settimeout(_ANSWER_S)
        head = struct.pack("=IHHII", _HEADER_BYTES + _NFGENMSG_BYTES, kind, NLM_F_REQUEST | flags, 1, 0)
        asking.send(head + bytes(_NFGENMSG_BYTES))
        while True:
            for message in messages(asking.recv(_EVENT_BYTES)):
                if message.type == _NLMSG_DONE:
                    return
                yield message
                if message.type == _NLMSG_ERROR:
                    return
            if not flags:
                return


def ruleset() -> list[dict[str, Any]]:
    """
    All tables, sets, chains and rules of the namespace, for all families. Raises OSError with nft's complaint.

    Rules of iptables have extensions, which JSON has by name alone. The state of a connection, by which most firewalls
    of iptables decide, is then taken from nft's text, which has it in nftables' words.
    """
    found: list[dict[str, Any]] = list(json.loads(_run(["-j", "list", "ruleset"]))["nftables"])
    if not any(_asks_for_state(part) for item in found for part in item.get("rule", {}).get("expr", ())):
        return found
    states = states_in(_run(["-a", "list", "ruleset"]))
    for item in found:
        if "rule" in item:
            rule = item["rule"]
            state = states.get((rule["family"], rule["table"], rule["handle"]))
            rule["expr"] = [state if state and _asks_for_state(part) else part for part in rule["expr"]]
    return found


def _asks_for_state(part: Any) -> bool:
    found = part.get("xt") if isinstance(part, dict) else None
    return isinstance(found, dict) and (found.get("type"), found.get("name")) in _STATE_MATCHES


def states_in(text: str) -> dict[tuple[str, str, int], dict[str, Any]]:
    """
    From `nft -a list ruleset` the rules that ask for the state of a connection once, and for nothing else about it: by
    family, table and handle, what they ask for as JSON would have it.
    """
    family = table = ""
    found: dict[tuple[str, str, int], dict[str, Any]] = {}
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["table"]:
            family, table = words[1:3]
        state, handle = _STATE.findall(line), _HANDLE.search(line)
        if handle and len(state) == 1 and len(_CONNTRACK.findall(line)) == 1 and words[0] != "chain":
            inverted, states = state[0]
            operation = "!=" if inverted else "in"
            match = {"op": operation, "left": {"ct": {"key": "state"}}, "right": states.split(",")}
            found[family, table, int(handle[1])] = {"match": match}
    return found


class Events:
    """
    Events of our tables, to be asked for with `drain` when `fileno` is readable. Nothing ever does where the kernel has
    no nftables or does not let us listen.
    """

    def __init__(self) -> None:
        self._end, self._socket = socket.socketpair()
        try:
            listener = _open()
            listener.bind((0, 0))
            listener.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, _NFNLGRP_NFTABLES)
        except OSError:
            return
        self.close()
        self._end = self._socket = listener

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        """Stop listening."""
        self._end.close()
        self._socket.close()

    def drain(self) -> bool:
        """Read all queued events; True if any is about our tables, or was lost."""
        ours = False
        while True:
            try:
                datagram = self._socket.recv(_EVENT_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return ours
            except OSError as error:
                if error.errno == errno.EBADF:
                    raise
                ours = True
                continue
            ours = ours or any(_is_ours(message.type, message.body) for message in messages(datagram))


def _open() -> socket.socket:
    """Raises OSError; EAFNOSUPPORT or EPROTONOSUPPORT where the kernel has no netfilter."""
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)


def _is_ours(kind: int, body: bytes) -> bool:
    """A new generation is announced after every transaction, with another attribute 1."""
    name = attributes(body, _NFGENMSG_BYTES).get(_TABLE_NAME, b"")
    return kind & 0xFF != _NFT_MSG_NEWGEN and name.startswith(OURS.encode())


def _without(table: str, families: Iterable[str]) -> Iterator[str]:
    return (_destroyed(family, name) for family in families for name in _names(table))


def _destroyed(family: str, table: str) -> str:
    """Declaring the table first makes deleting it succeed where it was absent."""
    return f"table {family} {table}\ndelete table {family} {table}\n"


def _run(arguments: list[str], text: str = "") -> str:
    """Run nft in the calling thread's namespace."""
    try:
        done = subprocess.run(
            ["nft", *arguments], input=text, capture_output=True, text=True, timeout=_ANSWER_S, check=False
        )
    except FileNotFoundError:
        raise OSError(errno.ENOPKG, "the program nft is not installed") from None
    except subprocess.TimeoutExpired:
        raise OSError(errno.ETIMEDOUT, f"nft did not answer within {_ANSWER_S} s") from None
    if done.returncode:
        complaint = done.stderr.strip()
        code = next((code for code in _DISTINGUISHED if os.strerror(code) in complaint), errno.EINVAL)
        raise OSError(code, complaint)
    return done.stdout
