"""
A store followed: read once as a whole, then watched from that revision on, again and again after every interruption.

Two threads. One reads and watches. The other asks the member that is watched for `meta` every second, which only a
member answers that is in touch with a majority: silence of a watch is no sign, neither of a member that is paused, nor
of one that is cut off from the others, nor of an etcd that was wiped. Without an answer the watch is closed, and the
first thread goes on with the next member. So it does if the answer has another uuid, or a revision that went back.

    start ─► read all ─► watch ──event──► known, delivered
                ▲          │
                └── pause ◄┴── broken, compacted, no heartbeat, other content

What is known is replaced by the rules of known.py only. If they object, `status` has the reason, and the store is read
again whenever its revision is another one.

Refuses to know: the meaning of records, what becomes of them.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from bgpctl.ports import Clock, Unavailable
from bgpctl.store.etcd import records
from bgpctl.store.etcd.gateway import Rejected, Watch
from bgpctl.store.etcd.known import Known, objection
from bgpctl.store.etcd.kv import Compacted, Entry, Event, Kv
from bgpctl.store.etcd.options import Endpoint, UnusableStore
from bgpctl.store.etcd.records import BadRecord, Meta, NewerFormat

log = logging.getLogger("bgpctl.store")

HEARTBEAT_S: Final = 1.0
_PAUSE_S: Final = (0.1, 0.5)
"""Between attempts, by chance, so that the agents of a cluster do not come all at once."""
_END_S: Final = 3.0
"""A thread that waits for an answer for longer than this delivers nothing any more."""
FAULTS: Final = (Unavailable, Rejected, UnusableStore, BadRecord, NewerFormat)


@dataclass(frozen=True, slots=True)
class Contact:
    """
    Attributes:
        at_s: when the store was last heard, by the clock; None: never.
        is_up: it is heard now.
        trouble: why it is not, or why its content is held off; "" if all is well.
    """

    at_s: float | None = None
    is_up: bool = False
    trouble: str = ""


class Follower:
    """
    Follows until it is closed. `deliver` gets what is known after every change of it; `tick` is called with every
    heartbeat, answered or not. Both are called by threads of the follower.
    """

    def __init__(self, kv: Kv, clock: Clock, deliver: Callable[[Known], None], tick: Callable[[], None]) -> None:
        self._kv = kv
        self._clock = clock
        self._deliver = deliver
        self._tick = tick
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._watch: Watch | None = None
        self._watched: Endpoint | None = None
        self._seen = 0
        self._threads: tuple[threading.Thread, ...] = ()
        self.known = Known()
        self.heard = Contact()

    # What is known ---------------------------------------------------------------------------------------------

    def restore(self, known: Known) -> None:
        """Begin with what was known at another time."""
        with self._lock:
            self.known = known

    def read(self) -> int | None:
        """
        Read all, and take it unless the rules object: then the revision of the content that is held off, else None.
        Raises one of FAULTS.
        """
        with self._lock:
            before, seen = self.known, self._seen
        listing = self._kv.list(records.WATCHED, records.WATCHED_LAST)
        meta = _meta(self._kv.past(records.META, listing.revision))  # of the same moment, or it is another content's
        found = Known(meta.uuid if meta else "", listing.revision, listing.entries)
        reason = objection(before, seen, meta, found)
        with self._lock:
            # Another thread may have read, or watched, something newer meanwhile.
            if reason is None and (self.known is before or found.revision > self.known.revision):
                self._seen = found.revision
                self.known = self._with_blobs(found, self.known.blobs)
            self._hear(reason or "")
        return found.revision if reason else None

    def _with_blobs(self, known: Known, former: Mapping[str, str]) -> Known:
        """With the parts of files that its head names, read where they are not known. Raises one of FAULTS."""
        try:
            names = records.read_head(known.head.value).blobs if known.head else frozenset()
        except (BadRecord, NewerFormat):
            return known.with_blobs(former)  # what it says is not known; what was in force stays
        new = sorted(f"{records.BLOBS}{name}" for name in names if name not in former)
        read = self._kv.read(*new).entries if new else {}
        texts = {key.removeprefix(records.BLOBS): records.read_blob(entry.value) for key, entry in read.items()}
        return known.with_blobs({**{name: former[name] for name in names if name in former}, **texts})

    def _hear(self, trouble: str = "") -> None:
        if trouble != self.heard.trouble:
            (log.warning if trouble else log.info)("%s", trouble or "the store is heard, and followed")
        self.heard = Contact(self._clock.now_s(), is_up=True, trouble=trouble)

    def missed(self, error: Exception) -> None:
        """The store did not answer."""
        if self.heard.is_up:
            log.warning("the store is not heard: %s", error)
        self.heard = Contact(self.heard.at_s, is_up=False, trouble=str(error))

    # Threads ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to follow."""
        targets = (("store", self._follow), ("store-heartbeat", self._beat))
        self._threads = tuple(threading.Thread(target=run, name=name, daemon=True) for name, run in targets)
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End both threads."""
        self._closed.set()
        self._interrupt()
        for thread in self._threads:
            thread.join(_END_S)
        self._threads = ()

    def _follow(self) -> None:
        while not self._closed.is_set():
            try:
                held_off = self.read()
                self._deliver(self.known)
                self._watch_on() if held_off is None else self._hold(held_off)
            except Compacted:
                log.info("etcd has compacted its history: everything is read again")
            except FAULTS as error:
                if not self._closed.is_set():
                    self.missed(error)
            self._closed.wait(random.uniform(*_PAUSE_S))  # noqa: S311 (no secret)

    def _watch_on(self) -> None:
        """Deliver changes until the watch ends. Raises Compacted, or one of FAULTS."""
        at = self._kv.gateway.endpoint
        self._watched = at
        try:
            watch = self._kv.watch(records.WATCHED, self.known.revision, at, self._opened, through=records.WATCHED_LAST)
            for events in watch:
                if events:
                    self._take(events)
        except Unavailable:
            self._kv.gateway.avoid(at)
            raise
        finally:
            self._watch = None

    def _take(self, events: tuple[Event, ...]) -> None:
        """Take changes over. Without a configuration all has to be read as a whole: raises Unavailable."""
        if any(event.key == records.HEAD and event.value is None for event in events):
            raise Unavailable("the keys of the cluster were removed")
        with self._lock:
            self.known = self._with_blobs(self.known.after(events), self.known.blobs)
            self._hear()
        self._deliver(self.known)

    def _opened(self, watch: Watch) -> None:
        self._watch = watch
        if self._closed.is_set():
            watch.close()

    def _hold(self, revision: int) -> None:
        """Wait until the store has another revision than the one that is held off. Raises one of FAULTS."""
        while not self._closed.wait(HEARTBEAT_S / 2):
            if self._kv.read(records.META).revision != revision:
                return

    def _interrupt(self) -> None:
        if watch := self._watch:
            watch.close()

    def _beat(self) -> None:
        while not self._closed.wait(HEARTBEAT_S):
            with suppress(*FAULTS):
                self._ask()
            self._tick()

    def _ask(self) -> None:
        """Ask the member that is watched; end the watch if it does not answer as it should."""
        watch, at = self._watch, self._watched
        if watch is None or at is None:
            return
        try:
            found = self._kv.read(records.META, at=at)
            meta = _meta(found.entries.get(records.META))
        except FAULTS as error:
            self._kv.gateway.avoid(at)
            self.missed(error)
            watch.close()
            return
        with self._lock:
            if (meta.uuid if meta else "") != self.known.uuid or found.revision < self._seen:
                watch.close()  # to be read as a whole
                return
            self._seen = found.revision
            self._hear(self.heard.trouble if self.heard.is_up else "")


def _meta(entry: Entry | None) -> Meta | None:
    """Raises BadRecord, NewerFormat."""
    return records.read_meta(entry.value) if entry else None
