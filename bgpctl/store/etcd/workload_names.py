"""
The names of each node's workloads in an etcd: a node writes one record, and follows those of all others.

    workloads/NODE/names    {"format": 1, "workloads": [{"network": …, "names": […], "addresses": […]}, …]}

The record is the node's own, so it is written without a condition, whenever it is other than it should be: also after
an etcd was wiped. A thread watches. Another one asks the watched member every second, as the follower of the
configuration does (follower.py), since a watch at a member that is paused or cut off is silent without end.

While the etcd is away, what is known stays. The names of a node whose record is gone stay for a minute: an operator may
have removed the node, or the etcd was made anew and its record comes again.

Refuses to know: DNS, the ledger, the configuration.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from bgpctl.core.ipam.names import Named, Others
from bgpctl.core.net.addresses import Address
from bgpctl.ports import Unavailable
from bgpctl.store.etcd.follower import FAULTS, HEARTBEAT_S
from bgpctl.store.etcd.gateway import Watch
from bgpctl.store.etcd.kv import MOST_BYTES, Compacted, Event, Kv
from bgpctl.store.etcd.options import Endpoint
from bgpctl.store.etcd.records import FORMAT, BadRecord, NewerFormat

log = logging.getLogger("bgpctl.store")

WORKLOADS: Final = "workloads/"
_NAMES: Final = "/names"
_PAUSE_S: Final = (0.1, 0.5)
_GONE_S: Final = 60.0
_END_S: Final = 3.0
_NOT_READ: Final = "the store was not read yet"


def read_record(text: str) -> tuple[Named, ...]:
    """Raises BadRecord, NewerFormat."""
    try:
        found = json.loads(text)
        if found["format"] > FORMAT:
            raise NewerFormat(f"it has format {found['format']}, and this version reads up to {FORMAT}")
        return tuple(map(_named, found["workloads"]))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise BadRecord(f"it is no record of workloads: {error!r}") from error


def _named(item: Mapping[str, Any]) -> Named:
    addresses = tuple(Address.parse(str(text)) for text in item["addresses"])
    return Named(str(item["network"]), tuple(map(str, item["names"])), addresses)


def written_record(names: tuple[Named, ...]) -> str:
    """As JSON. What is over a mebibyte is left out, from the end."""
    items = [json.dumps(item) for item in map(_item, names)]
    while sum(map(len, items)) + 2 * len(items) > MOST_BYTES - (1 << 10):
        items.pop()
    return f'{{"format": {FORMAT}, "workloads": [{", ".join(items)}]}}'


def _item(named: Named) -> dict[str, Any]:
    addresses = [str(address) for address in named.addresses]
    return {"network": named.network, "names": list(named.names), "addresses": addresses}


def key_of(node: str) -> str:
    """The key of a node's record. It writes what is below `workloads/NODE/`, and others read it."""
    return f"{WORKLOADS}{node}{_NAMES}"


class WorkloadNames:
    """Writes and follows until closed. Any thread may call."""

    def __init__(self, kv: Kv, node: str) -> None:
        self._kv = kv
        self._own = key_of(node)
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._changed = threading.Event()
        self._wanted: str | None = None
        self._written: str | None = None
        self._texts: dict[str, str] = {}
        self._gone_s: dict[str, float] = {}
        self._others = Others(unheard=_NOT_READ)
        self._seen = 0
        self._watch: Watch | None = None
        self._watched: Endpoint | None = None
        targets = (("names", self._follow), ("names-heartbeat", self._beat))
        self._threads = [threading.Thread(target=run, name=name, daemon=True) for name, run in targets]
        for thread in self._threads:
            thread.start()

    def publish(self, names: tuple[Named, ...]) -> None:
        """Have this node's record be so, as soon as the store takes it."""
        self._wanted = written_record(names)
        self._changed.set()

    def others(self) -> Others:
        """The others' names."""
        return self._others

    def close(self) -> None:
        """End both threads. The record stays: workloads do."""
        self._closed.set()
        self._changed.set()
        self._interrupt()
        for thread in self._threads:
            thread.join(_END_S)

    # Following -------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        heard = True
        while not self._closed.is_set():
            try:
                revision = self._read_all()
                if not heard:
                    log.info("names of other nodes are followed")
                heard = True
                self._watch_on(revision)
            except Compacted:
                pass
            except FAULTS as error:
                if heard and not self._closed.is_set():
                    log.warning("names of other nodes are not followed: %s", error)
                heard = False
            self._closed.wait(random.uniform(*_PAUSE_S))  # noqa: S311 (no secret)

    def _read_all(self) -> int:
        listing = self._kv.list(WORKLOADS)
        with self._lock:
            texts = {key: entry.value for key, entry in listing.entries.items()}
            now_s = time.monotonic()
            for key in self._texts.keys() - texts.keys():
                self._gone_s.setdefault(key, now_s)
                texts[key] = self._texts[key]
            self._seen = listing.revision
            self._written = listing.entries[self._own].value if self._own in listing.entries else None
            self._take(texts, listing.entries)
        self._changed.set()
        return listing.revision

    def _watch_on(self, revision: int) -> None:
        at = self._kv.gateway.endpoint
        self._watched = at
        try:
            for events in self._kv.watch(WORKLOADS, revision, at, self._opened):
                if events:
                    self._follow_events(events)
        except Unavailable:
            self._kv.gateway.avoid(at)
            raise
        finally:
            self._watch = None

    def _follow_events(self, events: tuple[Event, ...]) -> None:
        with self._lock:
            texts = dict(self._texts)
            for event in events:
                if event.value is None:
                    self._gone_s.setdefault(event.key, time.monotonic())
                else:
                    texts[event.key] = event.value
                if event.key == self._own:
                    self._written = event.value
                    self._changed.set()
            self._take(texts, {event.key for event in events if event.value is not None})

    def _take(self, texts: dict[str, str], there: Any) -> None:
        """`there`: keys that have a record now."""
        for key in there:
            self._gone_s.pop(key, None)
        former = self._others.names
        names = {}
        for key, text in texts.items():
            node = key.removeprefix(WORKLOADS).removesuffix(_NAMES)
            if key == self._own or key != key_of(node):
                continue
            if text == self._texts.get(key) and node in former:
                names[node] = former[node]
                continue
            try:
                names[node] = read_record(text)
            except (BadRecord, NewerFormat) as error:
                log.warning("the record %s is not read: %s", key, error)
                names[node] = former.get(node, ())
        self._texts = texts
        self._others = Others(names)

    def _opened(self, watch: Watch) -> None:
        self._watch = watch
        if self._closed.is_set():
            watch.close()

    def _interrupt(self) -> None:
        if watch := self._watch:
            watch.close()

    # Writing, and the heartbeat --------------------------------------------------------------------------------

    def _beat(self) -> None:
        while not self._closed.is_set():
            self._changed.wait(HEARTBEAT_S)
            self._changed.clear()
            with suppress(*FAULTS):
                self._write()
            self._ask()
            self._forget()

    def _write(self) -> None:
        """Unless it was never read: what is there may be the same."""
        wanted = self._wanted
        if self._seen and wanted is not None and wanted != self._written:
            self._kv.commit({}, {self._own: wanted})
            self._written = wanted

    def _ask(self) -> None:
        """Ask the member that is watched; end the watch if it does not answer, or has gone back in time."""
        watch, at = self._watch, self._watched
        if watch is None or at is None:
            return
        try:
            found = self._kv.read(self._own, at=at)
        except FAULTS:
            self._kv.gateway.avoid(at)
            watch.close()
            return
        with self._lock:
            if found.revision < self._seen:
                watch.close()
            self._seen = found.revision

    def _forget(self) -> None:
        with self._lock:
            over = [key for key, since_s in self._gone_s.items() if time.monotonic() - since_s > _GONE_S]
            if over:
                self._take({key: text for key, text in self._texts.items() if key not in over}, over)
