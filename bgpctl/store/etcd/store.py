"""
A cluster in an etcd as a store: its configuration, which operators apply, and its members with their allocations.

Fail static: what was read last stays in force while the store is away, is silent, or has content that does not go on
from it (known.py); it is on disk too, for an agent that starts meanwhile.

A change that has to be confirmed waits in the head of the configuration, where every agent sees it. Each counts the
time by its own clock from when it saw it, and the first whose time is over restores the files from before, on the
condition that the head is still that one: the change returns even if its operator, his host and most agents are gone.
An agent that does not hear the store then restores them for itself, since the change may be why, until it hears it;
so does one whose user may not write the configuration (rights.py), until somebody who may has ended the change.

Refuses to know: HTTP, the rules by which content is taken (known.py, follower.py), the meaning of documents.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Place, Problem
from bgpctl.core.ipam.claims import Claims
from bgpctl.ports import Clock, Loaded, NotPossibleNow, Proposal, Records, Store, StoreStatus
from bgpctl.store import secrets
from bgpctl.store.change import Standing
from bgpctl.store.changes import ENDED
from bgpctl.store.etcd import configuration, records, snapshot
from bgpctl.store.etcd.claimed import Claimed
from bgpctl.store.etcd.configuration import Overtaken, Present
from bgpctl.store.etcd.documents import MEMBERS, Documents
from bgpctl.store.etcd.duties import Duty
from bgpctl.store.etcd.follower import FAULTS, Follower
from bgpctl.store.etcd.gateway import ANSWER_S, DENIED, Gateway, Rejected
from bgpctl.store.etcd.known import Known
from bgpctl.store.etcd.kv import Entry, Kv
from bgpctl.store.etcd.options import Options
from bgpctl.store.etcd.records import BadRecord, File, Head, HeadChange, NewerFormat
from bgpctl.store.records import RecordReader
from bgpctl.store.texts import contents_of

log = logging.getLogger("bgpctl.store")

_SAVE_EVERY_S: Final = 5.0


class EtcdStore(Store):
    """
    `load` reads the store, or what is known of it if it is away. Any thread may call.

    Args:
        names: of the files that the next proposal replaces the configuration with; those in force without.
        answer_s: the time that a member has for an answer.
    """

    def __init__(self, options: Options, clock: Clock, names: Sequence[str] = (), answer_s: float = ANSWER_S) -> None:
        """Raises UnusableStore."""
        self._options = options
        self._clock = clock
        self._new_names = self.names = tuple(names)
        self.kv = Kv(Gateway(options, answer_s), options.cluster)
        self._follower = Follower(self.kv, clock, lambda _: self._deliver(), self._beat)
        self._duties: list[Duty] = []
        self._lock = threading.RLock()
        self._reader = RecordReader()
        self._generation = 0
        self._basis: tuple[Known, bool] | None = None
        self._texts: Mapping[str, str] | None = None
        self._declared: Loaded = ()
        self._loaded: Loaded = ()
        self.claimed = Claimed()
        self._documents = Documents()
        self._head = Head()
        self._head_entry: Entry | None = None
        self._head_unread: tuple[str, ...] = ()
        self._seen: tuple[int, str] | None = None
        self._seen_at_s = 0.0
        self._changed: Callable[[Loaded], None] | None = None
        self._saved: Known | None = None
        self._saved_at_s = -_SAVE_EVERY_S
        self._from_disk = False
        self._may_not_write = False

    # Reading ---------------------------------------------------------------------------------------------------

    def load(self) -> Loaded:
        if self._changed is None:
            self._read()
        self._understand()
        self.settle()
        self._understand()
        return self._loaded

    def _read(self) -> None:
        try:
            self._follower.read()
        except FAULTS as error:
            if not self._follower.known.entries:
                self._restore(str(error))
            self._follower.missed(error)

    def _restore(self, reason: str) -> None:
        path = self._options.snapshot
        known = snapshot.load(path, self._options.cluster) if path else None
        if known:
            self._from_disk = True
            self._saved = known
            self._follower.restore(known)
            log.warning("%s is not heard, and its content is that of %s: %s", self._options.name, path, reason)

    def keep(self, duty: Duty) -> None:
        """Have something done again and again while the store is watched and heard."""
        self._duties.append(duty)

    def watch(self, changed: Callable[[Loaded], None]) -> None:
        if self._texts is None:
            self._read()
            self._understand()
        self._changed = changed
        self._do_duties()
        self._follower.start()

    def close(self) -> None:
        self._follower.close()
        for duty in self._duties if self._follower.heard.is_up else ():
            duty.end()
        self._changed = None
        self._save(at_once=True)

    def _deliver(self) -> None:
        """Report the content if it is other than before. Reports come one after the other."""
        with self._lock:
            if self._understand() and self._changed:
                self._changed(self._loaded)

    def _do_duties(self) -> None:
        for duty in self._duties if self._follower.heard.is_up else ():
            duty.beat(self._clock.now_s())

    def _beat(self) -> None:
        self._do_duties()
        self.settle()
        self._deliver()
        self._save()

    def _understand(self) -> bool:
        """Understand what is known; true if it is other than before."""
        with self._lock:
            known = self._follower.known
            self._see_head(known)
            is_cut_off = self._is_cut_off()
            if (known, is_cut_off) == self._basis and self._texts:
                return False
            self._basis = known, is_cut_off
            change = self._head.change
            self._documents.update(known, change.previous if is_cut_off and change else self._head.files)
            texts, claimed = self._documents.texts, self.claimed.update(known)
            if texts == self._texts and not claimed:
                return False
            if texts != self._texts:
                self._declared = self._meaning(texts)
                self._texts = texts
            self._loaded = self.claimed.laid_over(self._declared, self._loaded)
            return True

    def _meaning(self, texts: Mapping[str, str]) -> Loaded:
        before = self._texts or {}
        if not texts:
            self._generation = 0
            return (self._nothing(),)
        changed = {key: text for key, text in texts.items() if before.get(key) != text}
        since = self._generation or None
        self._generation += 1
        found = Records(self._generation, since, changed, frozenset(before.keys() - texts.keys()))
        return self._reader.understand(found)

    def _nothing(self) -> Problem:
        heard = self._follower.heard
        message = "it holds no cluster yet: bgpctl apply, or bgpctl cluster import"
        if not heard.is_up:
            message = f"it does not answer, and there is no content from before: {heard.trouble}"
        return Problem(Place(self._options.name, 1, 1), "", message, "store-empty")

    def _see_head(self, known: Known) -> None:
        """The head, and when this agent saw it first."""
        if known.head != self._head_entry or not known.head:
            self._head_entry = known.head
            try:
                self._head = records.read_head(known.head.value) if known.head else Head()
                self._head_unread = ()
            except (BadRecord, NewerFormat) as error:
                self._head_unread = (f"{records.HEAD} is left as it is: {error}",)
            self.names = self._new_names or tuple(file.name for file in self._head.files)
        seen = (self._head.generation, self._head.written) if self._head.waits else None
        if seen != self._seen:
            self._seen, self._seen_at_s = seen, self._clock.since_boot_s()

    # Changes ---------------------------------------------------------------------------------------------------

    def unconfirmed_s(self) -> float | None:
        change = self._head.change
        if change is None or not self._head.waits or change.within_s is None:
            return None
        if change.generation != self._head.generation:
            return None
        return max(0.0, self._seen_at_s + change.within_s - self._clock.since_boot_s())

    def _is_cut_off(self) -> bool:
        """
        True if a change was not confirmed in time, as far as is known here, and this agent cannot end it for all: the
        store does not answer, or the agent's user may not write the configuration.
        """
        return self.unconfirmed_s() == 0 and (self._may_not_write or not self._follower.heard.is_up)

    def settle(self) -> None:
        """Undo the last change if its time is over; give it up if the configuration was edited since."""
        if not self._is_over() or not self._follower.heard.is_up or self._may_not_write:
            return
        try:
            was = self._present()
            if self._is_over():  # as a majority has it
                self._end(was)
        except NotPossibleNow as error:
            log.info("the unconfirmed change is left to another agent: %s", error)

    def _is_over(self) -> bool:
        """True if the last change waits and need not."""
        change = self._head.change
        is_edited = change is not None and change.generation != self._head.generation
        return self._head.waits and (is_edited or self.unconfirmed_s() == 0)

    def _end(self, was: Present) -> None:
        if self.unconfirmed_s() is None:
            log.warning("the configuration was edited: the unconfirmed change is not undone")
            self._write(was, standing=Standing.OVERTAKEN)
        else:
            log.warning("a change was not confirmed in time: previous configuration restored")
            self._return(was, Standing.RETURNED)

    def preview(self, proposal: Proposal) -> Loaded:
        return self._preview(self._contents(proposal))

    def _preview(self, contents: Sequence[str]) -> Loaded:
        with self._lock:
            files = {file.name for file in self._head.files}
            others = {key: text for key, text in (self._texts or {}).items() if key not in files}
        texts = {**others, **dict(zip(self.names, contents, strict=True))}
        return self.claimed.proposed(RecordReader().understand(Records(0, None, texts)), self.names[0])

    def preview_member(self, name: str, document: str) -> Loaded:
        """What all would mean with this document of a member (records.document_of) in place of its own."""
        return RecordReader().understand(Records(0, None, {**(self._texts or {}), f"{MEMBERS}{name}": document}))

    def _contents(self, proposal: Proposal) -> tuple[str, ...]:
        if self._texts is None:
            self.load()
        if self._head_unread:
            raise NotPossibleNow(f"{self._options.name} is not changed: {self._head_unread[0]}")
        if not self.names:
            raise NotPossibleNow(f"{self._options.name} has no configuration: bgpctl apply --store")
        return contents_of(proposal, self.names)

    def missing(self, proposal: Proposal, files: Collection[str]) -> tuple[Problem, ...]:
        return secrets.missing([Path(name) for name in self.names], self._contents(proposal), files)

    def propose(self, proposal: Proposal, confirm_within_s: float | None = None) -> None:
        contents = self._contents(proposal)
        problems = self._preview(contents)
        if isinstance(problems, tuple):
            raise NotPossibleNow(f"nothing was applied: {problems[0]}")
        was = self._present()
        if self._head.waits:
            self.settle()
            was = self._present()
        if self._head.waits:
            raise NotPossibleNow("another change waits to be confirmed: bgpctl confirm, or bgpctl undo")
        if confirm_within_s is not None and isinstance(self._loaded, tuple) and was.head.files:
            raise NotPossibleNow(
                "the configuration is not valid now, so there would be nothing to return to: correct it first,"
                " or apply without --confirm-within"
            )
        files, blobs = configuration.files_of(self.names, contents)
        standing = Standing.STAYS if confirm_within_s is None else Standing.WAITS
        self._commit(was, self._next(was, files, standing, confirm_within_s), blobs)

    def confirm(self) -> None:
        was = self._present()
        self.settle()
        if not self._head.waits:
            change = self._head.change
            why = ENDED.get(change.standing, "") if change else ""
            raise NotPossibleNow(f"no change waits to be confirmed{why}")
        self._write(was, standing=Standing.STAYS)

    def undo(self) -> None:
        was = self._present()
        self.settle()
        change = self._head.change
        if change is None:
            raise NotPossibleNow("nothing was applied yet")
        if change.standing is Standing.RETURNED:
            raise NotPossibleNow(f"nothing to undo{ENDED[Standing.RETURNED]}")
        if change.generation != self._head.generation:
            names = ", ".join(self.names)
            raise NotPossibleNow(f"{names} was edited since; what was applied is not in force")
        self._return(was, Standing.STAYS)

    def _present(self) -> Present:
        """The head as a majority has it, which is known from now on. Raises NotPossibleNow."""
        try:
            self._follower.read()
            found = configuration.present(self.kv)
        except FAULTS as error:
            raise NotPossibleNow(f"{self._options.name} cannot be changed: {error}") from error
        if self._follower.heard.trouble:
            raise NotPossibleNow(f"{self._options.name} is not changed: {self._follower.heard.trouble}")
        self._understand()
        return found

    def _next(self, was: Present, files: tuple[File, ...], standing: Standing, within_s: float | None) -> Head:
        number = was.head.generation + 1
        former = was.head.change
        more = former.more if former else {}
        change = HeadChange(number, was.head.files, standing, within_s, more) if was.head.files else None
        return replace(was.head, generation=number, files=files, change=change)

    def _return(self, was: Present, standing: Standing) -> None:
        """The files from before the last change, as another generation."""
        if was.head.change is None:
            return
        head = self._next(was, was.head.change.previous, standing, None)
        self._commit(was, head, {})

    def _write(self, was: Present, *, standing: Standing) -> None:
        """The same configuration, and its change with another standing."""
        if was.head.change:
            self._commit(was, replace(was.head, change=replace(was.head.change, standing=standing)), {})

    def _commit(self, was: Present, head: Head, blobs: Mapping[str, str]) -> None:
        """Raises NotPossibleNow."""
        try:
            configuration.commit(self.kv, was, head, blobs)
            self._follower.read()
        except Overtaken as error:
            raise NotPossibleNow(str(error)) from error
        except FAULTS as error:
            self._may_not_write = isinstance(error, Rejected) and error.code == DENIED
            raise NotPossibleNow(f"{self._options.name} cannot be changed: {error}") from error
        self._deliver() if self._changed else self._understand()

    # Standing --------------------------------------------------------------------------------------------------

    @property
    def cluster(self) -> str:
        """The name of the cluster in the etcd."""
        return self._options.cluster

    @property
    def claims(self) -> Claims:
        """The blocks that nodes have claimed by themselves, and what they have borrowed, as far as is known."""
        return self.claimed.claims

    @property
    def generation(self) -> int:
        """Of the configuration that is known."""
        return self._head.generation

    def status(self) -> StoreStatus:
        heard, known = self._follower.heard, self._follower.known
        problems = [heard.trouble] if heard.trouble and heard.is_up else []
        return StoreStatus(
            self._options.name,
            is_heard=heard.is_up,
            heard_at_s=heard.at_s,
            reason="" if heard.is_up else heard.trouble,
            uuid=known.uuid,
            revision=known.revision,
            is_from_disk=self._from_disk and not heard.is_up,
            problems=(*problems, *self._head_unread, *self._documents.unread.values(), *self.claimed.problems),
        )

    def _save(self, *, at_once: bool = False) -> None:
        """Good content only: an agent that starts with it has nothing else."""
        known, now_s = self._follower.known, self._clock.now_s()
        is_due = at_once or now_s >= self._saved_at_s + _SAVE_EVERY_S
        if known is self._saved or not is_due or not self._options.snapshot or not isinstance(self._loaded, Intent):
            return
        try:
            snapshot.save(self._options.snapshot, self._options.cluster, known)
        except OSError as error:
            log.warning("%s cannot be written: %s", self._options.snapshot, error.strerror)
        self._saved, self._saved_at_s = known, now_s
