"""
The cluster as services beside the agent know it, while they run: from cluster files, or from an etcd.

Refuses to know: what is done with it.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import click
from click.core import ParameterSource

from bgpctl.cli.cluster import options_at
from bgpctl.cli.refusals import NotFound
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Problem
from bgpctl.ports import Loaded, NotPossibleNow, Unavailable
from bgpctl.process.clock import LinuxClock
from bgpctl.store import texts
from bgpctl.store.etcd.options import UnusableStore
from bgpctl.store.etcd.store import EtcdStore

log = logging.getLogger("bgpctl")


class Source(Protocol):
    """Any thread may call."""

    @property
    def node(self) -> str:
        """The name of this node."""

    def read(self) -> tuple[Intent, Node]:
        """The cluster and this node. The last good content counts. Raises Unavailable."""

    def close(self) -> None:
        """End what follows it."""


@dataclass(slots=True)
class ClusterFiles:
    """
    The cluster files, read again when they were replaced or edited. While they have errors, or cannot be read, their
    last good content counts.
    """

    files: Sequence[Path]
    node: str
    _reader: texts.Reader = field(default_factory=texts.Reader)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _seen: object = None
    _good: Intent | None = None
    _problem: str = ""

    def read(self) -> tuple[Intent, Node]:
        """The cluster and this node. Raises Unavailable."""
        with self._lock:
            seen = tuple(map(_version, self.files))
            if seen != self._seen or self._good is None:
                self._seen = seen
                self._load()
            if self._good is None:
                raise Unavailable(self._problem)
        return _with_node(self._good, self.node, ", ".join(map(str, self.files)))

    def _load(self) -> None:
        loaded = self._reader.understand(self.files, texts.read_texts(self.files))
        if isinstance(loaded, Intent):
            self._good = loaded
            return
        self._problem = _words(loaded[0])
        log.warning("the last good cluster file stays: %s", self._problem)

    def close(self) -> None:
        """Nothing follows them."""


class ClusterInEtcd:
    """
    The cluster in an etcd, followed. While it is away, what was read last counts, also after a start: it is on this
    host's disk, in a file of the service's own.
    """

    def __init__(self, word: str, node: str, service: str) -> None:
        """Raises NotFound."""
        options = options_at(word)
        snapshot = options.snapshot
        own = snapshot.with_name(f"{snapshot.stem}-{service}{snapshot.suffix}") if snapshot else None
        self.name, self.node = options.name, node
        self._good: Intent | None = None
        self._problem = "it was not read yet"
        try:
            self.store = EtcdStore(replace(options, snapshot=own), LinuxClock())
        except UnusableStore as error:
            raise NotFound(str(error)) from error
        with suppress(NotPossibleNow):
            self._take(self.store.load())
        self.store.watch(self._take)

    def read(self) -> tuple[Intent, Node]:
        """The cluster and this node. Raises Unavailable."""
        good = self._good
        if good is None:
            raise Unavailable(f"{self.name}: {self.store.status().reason or self._problem}")
        return _with_node(good, self.node, self.name)

    def close(self) -> None:
        """Follow it no more."""
        self.store.close()

    def _take(self, loaded: Loaded) -> None:
        if isinstance(loaded, Intent):
            self._good = loaded
        elif loaded:
            self._problem = _words(loaded[0])
            log.warning("the last good configuration stays: %s", self._problem)


def source_of(files: Sequence[Path], store: str | None, node: str | None, service: str) -> Source:
    """The cluster as the options name it, of which a store goes before the file that is there by default."""
    here = node or socket.gethostname()
    if not store:
        return ClusterFiles(files, here)
    if click.get_current_context().get_parameter_source("files") is ParameterSource.COMMANDLINE:
        raise click.UsageError("either -f FILE, or --store STORE")
    return ClusterInEtcd(store, here, service)


def _with_node(intent: Intent, name: str, where: str) -> tuple[Intent, Node]:
    node = intent.node(name)
    if node is None:
        raise Unavailable(f"{name} is not a node of {where}; see --node")
    return intent, node


def _words(first: Problem) -> str:
    return f"{first.place}: {first.path}: {first.message}" if first.path else f"{first.place}: {first.message}"


def _version(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
