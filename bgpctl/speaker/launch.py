"""
How ExaBGP is found, checked and configured on this host, and the files in its run directory.

Refuses to know: whether it runs, and what its sessions do.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from bgpctl import filesystem
from bgpctl.core.bgp.speaker import PeerConnecting, SpeakerConfig
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.speaker import bridge, conf, patches

_ALONE: Final = (sys.executable, "-I", "-S")
"""Python without what `site` does at each start: the .pth files of an environment can import a good deal."""
_VALIDATE_WITHIN_S: Final = 30.0
_TAIL_BYTES: Final = 600
_LONGEST_PASSWORD_BYTES: Final = 1 << 12
_LOG_BYTES: Final = 4 << 20


class ConfigRejected(Exception):
    """The configuration cannot be put in force; the message names what the operator has to correct."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """
    A configuration in ExaBGP's words.

    Attributes:
        head: the beginning of the configuration file.
        neighbors: its rest, a block for each session.
        environment: the whole environment of the process.
        tags: the tags in ExaBGP's listing when this configuration is in force.
        peers: all peers.
        hold_time_s: the shortest of all sessions.
        ranges: connections from these addresses wait for a session.
        secrets: never to be logged.
    """

    head: str
    neighbors: tuple[str, ...]
    environment: Mapping[str, str]
    tags: frozenset[str]
    peers: frozenset[Address]
    hold_time_s: int
    secrets: Mapping[Address, str]
    ranges: tuple[Prefix, ...] = ()

    @property
    def text(self) -> str:
        """The configuration file."""
        return "\n".join((self.head, *self.neighbors))

    def is_of(self, actual: Mapping[str, str]) -> bool:
        """True if a process with this environment has the settings and the patches that a reload cannot change."""
        wanted = (item for item in self.environment.items() if item[0].startswith(("exabgp_", conf.VERSION_NAME)))
        return all(actual.get(name) == value for name, value in wanted)


@dataclass(frozen=True, slots=True)
class RunDir:
    """The files of one ExaBGP."""

    path: Path

    @property
    def conf(self) -> Path:
        return self.path / "exabgp.conf"

    @property
    def pid(self) -> Path:
        return self.path / "exabgp.pid"

    @property
    def socket(self) -> Path:
        return self.path / "bridge.sock"

    @property
    def log(self) -> Path:
        return self.path / "exabgp.log"

    def make_room(self) -> None:
        """Make the directory if it is gone, and move aside whatever is at the place of a file and is none."""
        self.path.mkdir(mode=0o755, parents=True, exist_ok=True)
        with filesystem.ours(self.path) as directory:
            for file in (self.conf, self.pid, self.socket, self.log):
                filesystem.make_room(directory, file.name)

    def clean(self) -> None:
        """Remove the files that are of no use once ExaBGP has ended; its log stays."""
        for file in (self.conf, self.pid, self.socket):
            with contextlib.suppress(IsADirectoryError):
                file.unlink(missing_ok=True)

    def turn_log(self) -> None:
        """Keep one old log once the log is long. ExaBGP appends, so its file can be emptied under it."""
        with contextlib.suppress(OSError):
            if self.log.stat().st_size > _LOG_BYTES:
                shutil.copy(self.log, self.log.with_suffix(".log.1"))
                os.truncate(self.log, 0)

    def accepted_peers(self) -> tuple[PeerConnecting, ...]:
        """The peers of ranges that an earlier agent has given sessions."""
        try:
            return conf.accepted_peers(self.conf.read_text())
        except (OSError, ValueError):
            return ()

    def log_tail(self) -> str:
        """The last lines that ExaBGP wrote."""
        try:
            return self.log.read_text(errors="replace")[-_TAIL_BYTES:].strip()
        except OSError:
            return ""


def server(run_dir: RunDir, *, patched: bool) -> tuple[str, ...]:
    """The command that runs ExaBGP, with patches.py or as it is."""
    return (*(_patched() if patched else _exabgp()), "server", str(run_dir.conf))


def prepare(config: SpeakerConfig, run_dir: RunDir) -> Rendered:
    """
    Read the passwords and render.

    Raises:
        ConfigRejected: a password file cannot be read.
    """
    secrets = {s.peer: _secret(s.name, Path(s.password_file)) for s in config.sessions if s.password_file is not None}
    command = " ".join((*_ALONE, str(Path(bridge.__file__).resolve()), str(run_dir.socket)))
    return Rendered(
        head=conf.head(command),
        neighbors=conf.neighbors(config, secrets),
        environment={
            "PATH": os.environ.get("PATH", os.defpath),
            conf.VERSION_NAME: conf.VERSION,
            **conf.environment(config),
        },
        tags=conf.tags(config, secrets),
        peers=frozenset(session.peer for session in config.sessions),
        hold_time_s=min((session.hold_time_s for session in config.sessions), default=0),
        secrets=secrets,
        ranges=config.ranges,
    )


def install(rendered: Rendered, run_dir: RunDir, accepted: Rendered | None = None, *, validated: bool = True) -> None:
    """
    Put the file in place if ExaBGP accepts it; nothing happens where it is in place already.

    A running ExaBGP must never see a file that it cannot read: after one it fails to load every later one (5.0.15). It
    reads each neighbour by itself, so those of `accepted`, which was put in place before, are not validated again: a
    new member is one neighbour among a thousand. At its start ExaBGP ends at such a file, so that none has to be
    `validated` before.

    Raises:
        ConfigRejected: ExaBGP rejects the file, or it cannot be written; the one in place stays.
    """
    text = rendered.text
    if _content(run_dir.conf) == text:
        return
    candidate = run_dir.conf.with_suffix(".conf.new")
    unseen = _unseen(rendered, accepted) if validated else ""
    try:
        run_dir.make_room()
        if unseen:
            _write(candidate, unseen)
            validate(candidate, rendered)
        _write(candidate, text)
        candidate.replace(run_dir.conf)
        _sync(run_dir.path)
    except OSError as error:
        raise ConfigRejected(f"cannot write {run_dir.conf}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            candidate.unlink(missing_ok=True)


def _unseen(rendered: Rendered, accepted: Rendered | None) -> str:
    """
    The part of the file that ExaBGP has not accepted yet, empty if there is none. The whole, if anything but the
    neighbours differs, or if two have one peer: a second one is all that ExaBGP rejects because of another.
    """
    frame, alone = (rendered.head, rendered.environment), len(rendered.peers) == len(rendered.neighbors)
    if accepted is None or frame != (accepted.head, accepted.environment) or not alone:
        return rendered.text
    known = frozenset(accepted.neighbors)
    new = [neighbor for neighbor in rendered.neighbors if neighbor not in known]
    return "\n".join((rendered.head, *new)) if new else ""


def _secret(name: str, path: Path) -> str:
    try:
        password = filesystem.read(path, _LONGEST_PASSWORD_BYTES).decode().rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigRejected(f"the password of peer {name} cannot be read from {path}: {why}") from error
    if not password.strip():
        raise ConfigRejected(f"the password of peer {name} is empty: {path} has to have it in its first line")
    return password


def _content(path: Path) -> str | None:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return None


def _write(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    # Created for its owner only, before a password is in it.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def validate(path: Path, rendered: Rendered) -> None:
    """Raises ConfigRejected with ExaBGP's reason if it cannot load the file, which has `rendered` or a part of it."""
    # The module alone, as `exabgp validate` imports all of ExaBGP, which takes as long again.
    command = (sys.executable, "-I", "-m", "exabgp.application.validate", str(path))
    try:
        result = subprocess.run(
            command,
            env=dict(rendered.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_VALIDATE_WITHIN_S,
            check=False,
        )
    except OSError as error:
        raise ConfigRejected(f"ExaBGP cannot be run: {command[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise ConfigRejected(f"ExaBGP did not validate the configuration within {_VALIDATE_WITHIN_S:g} s") from error
    if result.returncode:
        output = conf.redacted(result.stdout, rendered.secrets)[-_TAIL_BYTES:].strip()
        raise ConfigRejected(f"ExaBGP rejects the configuration: {output}")


def _patched() -> tuple[str, ...]:
    found = find_spec("exabgp")
    place = Path(found.origin).parents[1] if found and found.origin else Path(os.devnull)
    return (*_ALONE, str(Path(patches.__file__).resolve()), str(place))


def _exabgp() -> tuple[str, ...]:
    """The script beside our own interpreter, so that a virtual environment need not be on PATH."""
    script = Path(sys.executable).with_name("exabgp")
    return (str(script),) if script.exists() else (sys.executable, "-m", "exabgp")
