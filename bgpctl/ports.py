"""
The ports by which the agent observes its node and cluster and acts on them, on one page.

Core and agent are written against these protocols and against nothing else outside:

    cluster files ── Store ──┐                              ┌── Kernel, Prober, Host ── Linux network namespace
          ExaBGP ── Speaker ─┤ agent/ (queue, timers, API)  ├── Clock ───────────────── clock_gettime(2)
                             │   core/ (decides, acts not)  ├── ServiceManager ──────── systemd
                             └──────────────────────────────┴── RunDirectory ────────── /run/bgpctl

The servers by which others ask the agent (agent/api.py, agent/pages.py) are no ports: they answer, and never ask.

Each protocol has an implementation for a running host (kernel/, speaker/, store/, process/), and a fake where a test or
a lab in memory needs one; tests/contract runs the same tests on both, so that a fake cannot do more than the real one.
agent/wiring.py alone selects implementations, and import-linter refuses every other import of them in agent/.

Three rules apply to all ports. Times are seconds, and time itself comes in by `Clock`. An implementation calls back
from a thread of its own, and the agent puts the call into its queue. A failure that ends by itself is `Unavailable`,
and a request that an operator has to change is `NotPossibleNow`; anything else that is raised is a defect.

Refuses to know: what a message means, and when to send one (core/agent).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import NamedTuple, NewType, Protocol, TypeAlias

from bgpctl.core.bgp.speaker import SpeakerCommand, SpeakerConfig, SpeakerEvent
from bgpctl.core.cluster.configuration import Service
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Problem
from bgpctl.core.dataplane.drift import Mismatch
from bgpctl.core.dataplane.effects import Failure, Op
from bgpctl.core.migration.probes import Probe, ProbeReply
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Drops, Sysctl, Traffic
from bgpctl.core.services.health import Outcome
from bgpctl.core.trace.netfilter import Chain
from bgpctl.core.trace.sightings import Mark, Sighting
from bgpctl.core.trace.snapshot import Snapshot


class Unavailable(Exception):
    """The other side of a port is gone or not there yet. Try again later."""


class AlreadyRunning(Exception):
    """Another agent has the network namespace or the run directory."""


class NotPossibleNow(Exception):
    """An operator's request that the present state does not allow; the message has the reason, for the operator."""


class Instance(NamedTuple):
    """Where a check finds an instance: at `address`; `is_here`: the node has it itself, so nothing else may answer."""

    address: Address
    is_here: bool


# The node's network --------------------------------------------------------------------------------------------


class Kernel(Protocol):
    """The dataplane of one network namespace: the one that the process (or the opener) was in at the start."""

    def observe(self) -> Dataplane:
        """
        Everything in the namespace that bgpctl understands, ours and others'.

        While `watch` is on, it is the former observation with all notifications since applied to it; a kind of object
        is dumped where these are not enough. Not an atomic snapshot: a route may name a link missing from the same
        observation. A table without a change is the same object as before, and so is a whole observation. Only the
        sysctls that bgpctl may want are included.

        Raises:
            Unavailable: the netlink socket is gone.
        """

    def resync(self) -> Mismatch | None:
        """
        Dump everything. The difference between what notifications have led to and the dump; None if there is none, or
        if it is unknown, because something changed at the same time. The next observation is the dump.

        Raises:
            Unavailable: the netlink socket is gone.
        """

    def apply(self, ops: Sequence[Op]) -> tuple[Failure, ...]:
        """
        Do every op in the given order and return those that were refused; the rest are tried all the same.

        A success is not proof (some deletes report success and change nothing): observe again.

        Raises:
            Unavailable: the netlink socket is gone; anything may have been applied.
        """

    def changed_sysctls(self) -> tuple[Sysctl, ...]:
        """Sysctls that were changed, by earlier processes too, with their former values; removing one restores it."""

    def watch(self, changed: Callable[[], None]) -> None:
        """
        Call `changed` whenever another program changed the dataplane or events were lost. Own changes do not count.
        The first call may come at once.
        """

    def close(self) -> None:
        """Release sockets and end the watching thread. The kernel keeps its objects."""


class Prober(Protocol):
    """Packets that probe a path, before traffic takes it and while it does."""

    def probe(self, probes: Sequence[Probe]) -> tuple[ProbeReply, ...]:
        """
        Send each request once and wait for the answers, for well under a second.

        Raises:
            Unavailable: no such socket can be had.
        """

    def silent(self) -> frozenset[Address]:
        """
        The hosts in networks of this node that answer no ARP and no neighbour solicitation, of those asked lately.

        Raises:
            Unavailable: the kernel cannot be asked.
        """

    def packets_sent(self) -> int:
        """The packets that the node's links, but for the loopback, have sent since they are there, probes included."""

    def chains(self) -> tuple[Chain, ...] | None:
        """
        The base chains of other programs; None if nothing has changed since they were asked for last.

        Raises:
            Unavailable: they cannot be read.
        """

    def watch(self, mark: Mark) -> Watching:
        """
        See the packets of a trace on every link of this node, from now on.

        Raises:
            Unavailable: no such socket can be had.
        """

    def carry(self, note: bytes) -> None:
        """From now on requests carry this note for the agents that get them, at most 64 octets and an even number."""

    def listen(self, heard: Callable[[Address, bytes], None]) -> Closing:
        """
        Call `heard` with the source of each request that comes in with a note, and the note with whatever follows it;
        not with all of them if many come, and with those of hosts that are no members too.

        Raises:
            Unavailable: no such socket can be had.
        """


class Watching(Protocol):
    """A watch for the packets of one trace, which sees them until it is closed."""

    @property
    def sightings(self) -> Sequence[Sighting]:
        """The packets seen until now, in their order."""

    def close(self) -> None:
        """End it."""


class Closing(Protocol):
    """A part that works until it is closed."""

    def close(self) -> None:
        """End it."""


class Checker(Protocol):
    """Checks of an instance of a service. Any thread may ask; each call takes as long as the check does."""

    def check(self, service: Service, instance: Instance, is_cancelled: Callable[[], bool]) -> Outcome:
        """
        One check of the instance, within the service's timeout. As soon as it `is_cancelled` no program of it runs on.

        Raises:
            Unavailable: this process lacks what a check needs, which says nothing about the instance.
        """


class Host(Protocol):
    """Uses of the node's network at this moment. Any thread may ask."""

    def connected(self) -> frozenset[Address]:
        """The other ends of established TCP connections, without those that are on this host themselves."""

    def traffic(self) -> Mapping[str, Traffic]:
        """
        Counters of the tunnel devices, by their names; a device that cannot be counted is absent.

        Raises:
            Unavailable: nothing can be counted now.
        """

    def drops(self) -> Mapping[str, tuple[Drops, ...]]:
        """
        The packets out of tunnels, and from workloads, that filters have dropped, by the link that they came by.

        Raises:
            Unavailable: they cannot be read now.
        """

    def snapshot(self, observed: Dataplane) -> Snapshot:
        """
        All that decides about a packet here, around a dataplane that was observed: what the agent has no need of is
        read now.

        Raises:
            Unavailable: it cannot be read now.
        """


# BGP -----------------------------------------------------------------------------------------------------------


class Speaker(Protocol):
    """The BGP speaker of one node. It outlives this process."""

    def start(self, deliver: Callable[[SpeakerEvent], None]) -> None:
        """Deliver events until closed. Reconnects by itself."""

    def configure(self, config: SpeakerConfig) -> None:
        """
        Make the speaker run with exactly this configuration, starting it if need be; sessions that stay the same
        are not disturbed. Returns at once; SpeakerAttached follows when the configuration is in force, even if it was
        before, and SpeakerConfigRejected if it cannot be.
        """

    def send(self, commands: Sequence[SpeakerCommand]) -> None:
        """Queue commands in order. Dropped while detached: SpeakerAttached is the time to begin anew."""

    def shutdown(self, withdrawing: Collection[Prefix] = ()) -> None:
        """
        End the speaker and all its sessions. These prefixes are withdrawn before, as far as the speaker still can: what
        else it announced peers may keep for its restart time.

        Raises:
            Unavailable: it was not started here, and could not be ended.
        """

    def close(self) -> None:
        """Let go of the speaker, which keeps its sessions."""


# The cluster ---------------------------------------------------------------------------------------------------


Loaded: TypeAlias = Intent | tuple[Problem, ...]
"""A good configuration with its allocations and with warnings in its `remarks`, or all the problems of a bad one."""

Proposal = NewType("Proposal", str)
"""Another configuration, as an operator sends it; only the store knows its form."""


class Records(NamedTuple):
    """
    Records of a cluster as their source gives them: all, or those that changed.

    Attributes:
        generation: of the source, with these.
        since: the generation that they follow; None: they are all records.
        changed: new or replaced ones by their keys. A record is the text of one document or more.
        removed: the keys of those that are gone.
    """

    generation: int
    since: int | None
    changed: Mapping[str, str]
    removed: frozenset[str] = frozenset()


class RecordSource(Protocol):
    """
    A source whose unit is a record (a pool, a node, a peer, a block) and not a file, so that it can give differences.
    `store/records.py` understands its records; keys are sorted into their order, and stand for files in problems.
    """

    def read(self) -> Records:
        """All records."""

    def watch(self, changed: Callable[[Records], None]) -> None:
        """
        Call `changed` after every change: with what differs from the last call, or from `read` before the first; or,
        where the source does not know that any more, with all.
        """

    def close(self) -> None:
        """Stop watching."""


class StoreStatus(NamedTuple):
    """
    How a store that is reached over the network stands.

    Attributes:
        name: for the operator.
        is_heard: it answers, now.
        heard_at_s: when it answered last, by the clock's `now_s`; None: never since the start.
        reason: why it is not heard.
        uuid, revision: of the content that is in force here.
        is_from_disk: that content was read from this host's disk, at the start.
        problems: of its content, which is held off or left as it is.
    """

    name: str
    is_heard: bool
    heard_at_s: float | None = None
    reason: str = ""
    uuid: str = ""
    revision: int = 0
    is_from_disk: bool = False
    problems: tuple[str, ...] = ()


class Store(Protocol):
    """
    Where configuration and allocations come from, and where an operator's next configuration goes.

    Each half has a source: a store that reads both from the same files has one, a store that reads allocations from
    IP address management has two. Both halves are loaded and reported together, since neither can be checked alone.

    Attributes:
        names: of the sources that a proposal replaces, for the operator.
    """

    names: tuple[str, ...]

    def load(self) -> Loaded:
        """The intent as it stands now, or all its problems."""

    def watch(self, changed: Callable[[Loaded], None]) -> None:
        """Call `changed` after every change of the content, by a proposal or by anything else."""

    def close(self) -> None:
        """Stop watching."""

    def preview(self, proposal: Proposal) -> Loaded:
        """The intent or the problems that the proposal would load as. Raises NotPossibleNow if it is none at all."""

    def missing(self, proposal: Proposal, files: Collection[str]) -> tuple[Problem, ...]:
        """Problems where a proposal that is good names one of these files, which is not there."""

    def propose(self, proposal: Proposal, confirm_within_s: float | None = None) -> None:
        """
        Put a proposal in force; the watch does the rest. Unless confirmed in time it is undone, also if the agent
        is killed or the host is booted meanwhile.

        Raises:
            NotPossibleNow: it has problems, another one waits to be confirmed, there is nothing good to return to, or
                it cannot be written.
        """

    def confirm(self) -> None:
        """Let the last proposal stay. Raises NotPossibleNow if none waits."""

    def undo(self) -> None:
        """
        Restore the content before the last proposal; a second time undoes that.

        Raises:
            NotPossibleNow: there is none, it was undone already, or the content was edited since.
        """

    def unconfirmed_s(self) -> float | None:
        """The seconds until the last proposal is undone unless confirmed; None if none waits."""

    def status(self) -> StoreStatus | None:
        """How it stands; None where it cannot be away. Cheap."""


# The process ---------------------------------------------------------------------------------------------------


class Clock(Protocol):
    """Time that only goes forward, and the date, which is for readers of logs and journals alone."""

    def now_s(self) -> float:
        """Seconds since an arbitrary start that all processes of the host share (CLOCK_MONOTONIC)."""

    def date(self) -> datetime:
        """The host's date and time, in UTC; an operator may set it."""

    def since_boot_s(self) -> float:
        """Seconds since the host was booted, those it slept included (CLOCK_BOOTTIME)."""

    def boot_id(self) -> str:
        """Names the boot that `since_boot_s` counts from."""


class ServiceManager(Protocol):
    """
    The program that runs this process, as systemd does.

    Attributes:
        pid: the process.
        beat_s: how often at least it expects a beat.
    """

    pid: int
    beat_s: float

    def beat(self, status: str, at_s: float, *, started: bool) -> None:
        """The process lives, and is busy with `status`. `started`: units that depend on it may start."""

    def stopping(self) -> None:
        """The process is about to end, as it was asked to."""

    def on_stop(self, stop: Callable[[], None]) -> None:
        """Call `stop`, from a signal handler, whenever the process is asked to end (SIGTERM, SIGINT)."""


class RunDirectory(Protocol):
    """The directory of the agent's own files, which outlive it until the next boot."""

    def hold(self) -> AbstractContextManager[None]:
        """
        Be the only agent of this directory and of the calling thread's network namespace, until the context or the
        process ends.

        Raises:
            AlreadyRunning: another agent has one of them.
            Unavailable: the directory cannot be used.
        """

    def read(self, name: str) -> bytes | None:
        """A file of the owner's, whichever program keeps it here; None if there is none, or it cannot be read."""

    def write(self, name: str, content: bytes) -> str:
        """
        Replace a file that only the owner may read, and return where it is, for the operator.

        Raises:
            Unavailable: it cannot be written.
        """
