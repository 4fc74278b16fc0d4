"""
Keys and values of one cluster in an etcd: read at one revision, written in one transaction, followed from a revision.

All keys begin with `/bgpctl/v1/CLUSTER/`, which is left out here. A revision numbers every change of the whole etcd,
and each key has that of its last change, so that "as it was when I read it" can be a condition of a transaction.

Refuses to know: the meaning of keys and values (records.py), HTTP (gateway.py).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from bgpctl.ports import Unavailable
from bgpctl.store.etcd.gateway import Gateway, Json, Rejected, Watch
from bgpctl.store.etcd.options import Endpoint

MOST_OPERATIONS: Final = 120
"""In one transaction, of the 128 that etcd allows by default; conditions count by themselves."""
MOST_BYTES: Final = 1 << 20
"""In one transaction, of the 1.5 MiB that etcd allows a request, and base64 is a third more."""
_PAGE: Final = 1000
_COMPACTED: Final = 11
"""gRPC's OUT_OF_RANGE."""


class Entry(NamedTuple):
    """A value, the revision of its last change, and that at which the key was made; 0: it is not known."""

    value: str
    revision: int
    created: int = 0


class Listing(NamedTuple):
    """Entries by key, as all of them were at one revision of the store."""

    revision: int
    entries: Mapping[str, Entry]


@dataclass(frozen=True, slots=True)
class Event:
    """A key that has another value now; None: it was deleted."""

    key: str
    value: str | None
    revision: int
    created: int = 0


class Guard(NamedTuple):
    """A condition on all keys from `first` to before `end`: each was last changed at `revision` or earlier; 0: none."""

    first: str
    end: str
    revision: int = 0


class Compacted(Exception):
    """etcd has forgotten the revision to watch from: everything has to be read again."""


@contextmanager
def _understood() -> Iterator[None]:
    """Another program may answer at this address. Raises Unavailable."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise Unavailable("it answers as no etcd does") from error


class Kv:
    """The keys of one cluster. Any thread may call. Every method may raise Unavailable, Rejected, UnusableStore."""

    def __init__(self, gateway: Gateway, cluster: str) -> None:
        self.gateway = gateway
        self._prefix = f"/bgpctl/v1/{cluster}/"

    def read(self, *keys: str, at: Endpoint | None = None) -> Listing:
        """Some keys at one revision, which no member has that is cut off from the others; absent ones are left out."""
        found: dict[str, Entry] = {}
        revision = 0
        for some in _batches(keys):
            requests = [{"request_range": {"key": self._key(key)}} for key in some]
            answer = self.gateway.call("/v3/kv/txn", {"success": requests}, at=at)
            with _understood():
                revision = _revision(answer)
                for response in answer.get("responses", ()):
                    found.update(self._entries(response.get("response_range", {})))
        return Listing(revision, found)

    def list(self, under: str, through: str = "") -> Listing:
        """
        All keys that begin with `under`, and those after them in the order of keys up to all that begin with `through`:
        at one revision, however many they are.
        """
        key, end, revision = self._key(under), self._end(through or under), 0
        found: dict[str, Entry] = {}
        while True:
            body = {"key": key, "range_end": end, "limit": str(_PAGE), "revision": str(revision)}
            answer = self.gateway.call("/v3/kv/range", body, long=True)
            with _understood():
                revision = revision or _revision(answer)
                found.update(self._entries(answer))
                if not answer.get("more"):
                    return Listing(revision, found)
                key = b64encode(b64decode(answer["kvs"][-1]["key"]) + b"\0").decode()

    def list_all(self) -> Listing:
        """All keys of the cluster, likewise."""
        return self.list("")

    def past(self, key: str, revision: int) -> Entry | None:
        """One key as it was at a revision of the store."""
        answer = self.gateway.call("/v3/kv/range", {"key": self._key(key), "revision": str(revision)})
        with _understood():
            return dict(self._entries(answer)).get(key)

    def commit(
        self,
        conditions: Mapping[str, int],
        puts: Mapping[str, str],
        removed: Collection[str] = (),
        guards: Collection[Guard] = (),
    ) -> int | None:
        """
        Put and remove keys in one transaction if each key of `conditions` has that revision (0: it is absent), and all
        guards hold. The revision of the store with it; None if a condition does not hold.
        """
        compare = [
            {"key": self._key(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}
            for key, revision in conditions.items()
        ]
        compare += [
            {
                "key": self._key(guard.first),
                "range_end": self._key(guard.end),
                "target": "MOD",
                "result": "LESS",
                "mod_revision": str(guard.revision + 1),
            }
            for guard in guards
        ]
        puts_ = [{"request_put": {"key": self._key(key), "value": _encoded(value)}} for key, value in puts.items()]
        removes = [{"request_delete_range": {"key": self._key(key)}} for key in removed]
        answer = self.gateway.call("/v3/kv/txn", {"compare": compare, "success": [*puts_, *removes]})
        with _understood():
            return _revision(answer) if answer.get("succeeded") else None

    def lease(self, seconds: int) -> str:
        """A lease that ends after so many seconds unless it is prolonged, and the keys that are put with it."""
        answer = self.gateway.call("/v3/lease/grant", {"TTL": str(seconds)})
        with _understood():
            return str(answer["ID"])

    def prolong(self, lease: str) -> bool:
        """False if the lease has ended."""
        answer = self.gateway.call("/v3/lease/keepalive", {"ID": lease})
        with _understood():
            return bool(answer["result"].get("TTL"))

    def put_leased(self, key: str, value: str, lease: str) -> None:
        """Put one key that ends with a lease."""
        self.gateway.call("/v3/kv/put", {"key": self._key(key), "value": _encoded(value), "lease": lease})

    def watch(
        self, under: str, since: int, at: Endpoint, opened: Callable[[Watch], None], through: str = ""
    ) -> Iterator[tuple[Event, ...]]:
        """
        Every change after the revision `since` of the keys of `list`, those of one revision together.
        `opened` gets the watch, which any thread may close.

        Raises:
            Compacted: `since` is too long ago.
            Unavailable: the watch has ended.
        """
        create = {"key": self._key(under), "range_end": self._end(through or under), "start_revision": str(since + 1)}
        watch = self.gateway.watch(at, {"create_request": create})
        opened(watch)
        try:
            for message in watch.messages():
                if message.get("compact_revision"):
                    raise Compacted
                if message.get("canceled"):
                    raise Unavailable(f"{at}: it canceled the watch: {message.get('cancel_reason', 'no reason given')}")
                with _understood():
                    events = tuple(map(self._event, message.get("events", ())))
                yield events
        except Rejected as error:
            if error.code == _COMPACTED:
                raise Compacted from error
            raise
        finally:
            watch.close()

    def _key(self, key: str) -> str:
        return _encoded(self._prefix + key)

    def _end(self, under: str) -> str:
        """The first key after all that begin so; ours end with `/`, so that the last byte can be raised."""
        whole = (self._prefix + under).encode()
        return b64encode(whole[:-1] + bytes((whole[-1] + 1,))).decode()

    def _entries(self, answer: Json) -> Iterator[tuple[str, Entry]]:
        for item in answer.get("kvs", ()):
            numbers = int(item["mod_revision"]), int(item.get("create_revision", 0))
            yield self._own(item), Entry(_decoded(item.get("value", "")), *numbers)

    def _event(self, found: Mapping[str, Any]) -> Event:
        item = found["kv"]
        value = None if found.get("type") == "DELETE" else _decoded(item.get("value", ""))
        return Event(self._own(item), value, int(item["mod_revision"]), int(item.get("create_revision", 0)))

    def _own(self, item: Mapping[str, Any]) -> str:
        return _decoded(item["key"]).removeprefix(self._prefix)


def _batches(keys: Collection[str]) -> Iterator[list[str]]:
    every = list(keys)
    for begin in range(0, len(every), MOST_OPERATIONS):
        yield every[begin : begin + MOST_OPERATIONS]


def _revision(answer: Mapping[str, Any]) -> int:
    return int(answer.get("header", {}).get("revision", 0))


def _encoded(text: str) -> str:
    return b64encode(text.encode("utf-8", "surrogateescape")).decode()


def _decoded(text: str) -> str:
    return b64decode(text).decode("utf-8", "surrogateescape")
