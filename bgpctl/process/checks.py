"""
Checks of instances on a Linux host: a connection, a GET, or a program.

An instance that the node has itself is asked from its own address: then no other host can answer for it, also while the
address is not there yet and a route leads to another instance.

A program runs as the user 65534, without capabilities, in a session of its own, whose processes end with the check. Of
its output the last line is kept.

Refuses to know: how many checks must pass or fail, when they are due.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Final

from bgpctl.core.cluster.configuration import Service
from bgpctl.core.net.addresses import Address
from bgpctl.core.services.health import Outcome
from bgpctl.ports import Checker, Instance, Unavailable

UNPRIVILEGED: Final = 65534
"""The user and the group that own nothing, on every Linux."""
_ENVIRONMENT: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_OWN_LACK: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN})
"""This process or its host has nothing left: no fault of the instance."""
_GOOD_STATUS: Final = range(200, 400)
_KEPT_BYTES: Final = 4096
_SHOWN_CHARACTERS: Final = 200
_TURN_S: Final = 0.05
"""A program may end while another one still has its output open."""


class HostChecker(Checker):
    """Checks from this process's network namespace."""

    def check(self, service: Service, instance: Instance, is_cancelled: Callable[[], bool]) -> Outcome:
        check, deadline_s = service.check, time.monotonic() + service.timeout_ms / 1000
        try:
            if check.command:
                return Outcome(_command(service, instance, deadline_s, is_cancelled))
            port = check.tcp or check.http or 0
            return Outcome(_answer(service, instance, port, deadline_s))
        except OSError as error:
            if error.errno in _OWN_LACK:
                raise Unavailable(f"service {service.name} cannot be checked: {error.strerror}") from error
            return Outcome(_in_words(error))


def _in_words(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


# TCP and HTTP --------------------------------------------------------------------------------------------------


def _answer(service: Service, instance: Instance, port: int, deadline_s: float) -> str:
    """Why the instance does not answer; empty if it does."""
    where = _where(instance.address, port)
    family = socket.AF_INET if instance.address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        try:
            if instance.is_here:
                connection.bind((str(instance.address), 0))
            connection.settimeout(_left_s(deadline_s))
            connection.connect((str(instance.address), port))
        except TimeoutError:
            return f"TCP {where}: no answer within {service.timeout_ms} ms"
        except ConnectionRefusedError:
            return f"TCP {where}: connection refused"
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return f"TCP {where}: this node has not the address {instance.address}"
            if error.errno in _OWN_LACK:
                raise
            return f"TCP {where}: {_in_words(error)}"
        return _status(service, connection, where, deadline_s) if service.check.http else ""


def _status(service: Service, connection: socket.socket, where: str, deadline_s: float) -> str:
    """Why the answer to a GET is none that is good. Only its first line is read, whatever follows."""
    what = f"GET http://{where}{service.check.path}"
    request = f"GET {service.check.path} HTTP/1.1\r\nHost: {where}\r\nUser-Agent: bgpctl\r\nConnection: close\r\n\r\n"
    line = b""
    try:
        connection.sendall(request.encode("ascii"))
        while b"\n" not in line and len(line) < _KEPT_BYTES:
            connection.settimeout(_left_s(deadline_s))
            octets = connection.recv(_KEPT_BYTES)
            if not octets:
                break
            line += octets
    except TimeoutError:
        return f"{what}: no answer within {service.timeout_ms} ms"
    except OSError as error:
        return f"{what}: {_in_words(error)}"
    words = line.split(b"\n", 1)[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        return f"{what}: the answer is not HTTP"
    status = int(words[1])
    return "" if status in _GOOD_STATUS else f"{what}: HTTP status {status}"


def _where(address: Address, port: int) -> str:
    return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"


def _left_s(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


# Programs ------------------------------------------------------------------------------------------------------


def _command(service: Service, instance: Instance, deadline_s: float, is_cancelled: Callable[[], bool]) -> str:
    """Why the program says that the instance is not well; empty if it is."""
    program = service.check.command[0]
    given = {"BGPCTL_SERVICE": service.name, "BGPCTL_ADDRESS": str(instance.address)}
    is_root = os.geteuid() == 0
    try:
        process = subprocess.Popen(
            service.check.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=_ENVIRONMENT | given,
            start_new_session=True,
            user=UNPRIVILEGED if is_root else None,
            group=UNPRIVILEGED if is_root else None,
            extra_groups=() if is_root else None,
        )
    except PermissionError as error:
        if error.errno == errno.EPERM:  # of a program that may not be executed it is EACCES
            return f"{program} cannot be run as user 65534: the agent lacks CAP_SETUID or CAP_SETGID"
        return f"{program}: {_in_words(error)}"
    if process.stdout is None:
        raise AssertionError("its output is a pipe")
    with process.stdout as output:
        try:
            said = _output(process.pid, output.fileno(), deadline_s, is_cancelled)
        finally:
            # Before it is waited for: until then its number is no other process's.
            _end_session(process.pid)
            code = process.wait()
    if said is None:
        return f"{program}: did not end within {service.timeout_ms} ms"
    if code == 0:
        return ""
    how = f"exit code {code}" if code > 0 else f"ended by {signal.Signals(-code).name}"
    return f"{program}: {how}" + (f": {said}" if said else "")


def _output(pid: int, handle: int, deadline_s: float, is_cancelled: Callable[[], bool]) -> str | None:
    """The last line that the program wrote before it ended; None if it has not ended in time."""
    kept, is_open = b"", True
    while time.monotonic() < deadline_s and not is_cancelled():
        has_ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        wait_s = 0.0 if has_ended else min(_TURN_S, max(0.0, deadline_s - time.monotonic()))
        if is_open and select.select([handle], [], [], wait_s)[0]:
            octets = os.read(handle, _KEPT_BYTES)
            kept, is_open = (kept + octets)[-_KEPT_BYTES:], bool(octets)
        elif has_ended:
            return _last_line(kept)
        elif not is_open:
            time.sleep(min(_TURN_S, max(0.0, deadline_s - time.monotonic())))
    return None


def _last_line(octets: bytes) -> str:
    """Printable, because it is shown on terminals."""
    lines = octets.decode("utf-8", "replace").strip().splitlines()
    text = lines[-1].strip() if lines else ""
    safe = "".join(character if character.isprintable() else "?" for character in text)
    return safe if len(safe) <= _SHOWN_CHARACTERS else f"{safe[:_SHOWN_CHARACTERS]}..."


def _end_session(pid: int) -> None:
    """All processes of the program's group, itself among them."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
