"""
The last good content of a store on disk, for an agent that starts while the store is away.

Written as a whole, in a directory in which no other user can write, and read only from there: an agent is root.

Refuses to know: what the records mean.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Final

from bgpctl import filesystem
from bgpctl.store.etcd.known import Known
from bgpctl.store.etcd.kv import Entry

log = logging.getLogger("bgpctl.store")

_FORMAT: Final = 1
_LONGEST_BYTES: Final = 64 << 20


def save(path: Path, cluster: str, known: Known) -> None:
    """Raises OSError."""
    content = {
        "format": _FORMAT,
        "cluster": cluster,
        "uuid": known.uuid,
        "revision": known.revision,
        "entries": {key: [entry.revision, entry.value, entry.created] for key, entry in known.entries.items()},
        "blobs": dict(known.blobs),
    }
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with filesystem.ours(path.parent) as directory:
        filesystem.replace(directory, path.name, json.dumps(content).encode("utf-8", "surrogateescape"))


def load(path: Path, cluster: str) -> Known | None:
    """None if there is none, of this cluster, that can be believed; what is damaged is moved aside."""
    try:
        with filesystem.ours(path.parent) as directory:
            try:
                return _known(json.loads(filesystem.read_ours(directory, path.name, _LONGEST_BYTES)), cluster)
            except FileNotFoundError:
                return None
            except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
                aside = filesystem.move_aside(directory, path.name)
                log.warning("%s is no content of a store, moved aside to %s: %s", path, aside, error)
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("%s is not used: %s", path, error.strerror)
    return None


def _known(found: Any, cluster: str) -> Known | None:
    """Raises ValueError, LookupError, TypeError."""
    if found["format"] != _FORMAT:
        raise ValueError(f"it has format {found['format']}")
    if found["cluster"] != cluster:
        return None
    entries = {str(key): _entry(*items) for key, items in found["entries"].items()}
    blobs = {str(name): str(text) for name, text in found["blobs"].items()}
    return Known(str(found["uuid"]), int(found["revision"]), entries, blobs)


def _entry(revision: Any, value: Any, created: Any = 0) -> Entry:
    """A former version did not write when a key was made."""
    return Entry(str(value), int(revision), int(created))
