"""
Writes the parts of bgpctl as CycloneDX 1.5 (JSON): the Python packages that a lock names, with their hashes.

    tools/sbom.py VERSION LOCK [PACKAGES] > FILE

VERSION: that of the project. PACKAGES: the Debian packages of an image, a line of name, version and architecture for
each (dpkg-query -W). The same arguments give the same text.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

_PINNED: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def main(arguments: Sequence[str]) -> int:
    """Print the parts."""
    if not 2 <= len(arguments) <= 3:
        sys.stderr.write("usage: tools/sbom.py VERSION LOCK [PACKAGES]\n")
        return 2
    lock, *packages = (Path(word).read_text() for word in arguments[1:])
    components = [*locked(lock), *(item for text in packages for item in installed(text))]
    sys.stdout.write(json.dumps(document(arguments[0], components), indent=2) + "\n")
    return 0


def document(version: str, components: list[dict[str, Any]]) -> dict[str, Any]:
    """The whole of it; the project itself is what the parts are of."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "bgpctl", "version": version}},
        "components": components,
    }


def locked(lock: str) -> Iterator[dict[str, Any]]:
    """The packages of a lock, each with the hashes of the files that may be installed."""
    found = list(_PINNED.finditer(lock))
    for item, after in zip(found, [*found[1:], None], strict=True):
        hashes = _HASH.findall(lock, item.end(), after.start() if after else len(lock))
        name, version = item[1], item[2]
        yield {
            "type": "library",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name.lower().replace('_', '-')}@{version}",
            "hashes": [{"alg": "SHA-256", "content": value} for value in hashes],
        }


def installed(packages: str) -> Iterator[dict[str, Any]]:
    """The Debian packages of a list."""
    for line in packages.splitlines():
        name, version, architecture = line.split()
        purl = f"pkg:deb/debian/{name}@{version.replace('+', '%2B').replace(':', '%3A')}?arch={architecture}"
        yield {"type": "library", "name": name, "version": version, "purl": purl}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
