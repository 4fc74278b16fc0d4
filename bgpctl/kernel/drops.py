"""
The packets that tables of ours have dropped out of tunnels, and from workloads, in the calling thread's namespace. Safe
in any thread.

Refuses to know: which links are ours.
"""

from __future__ import annotations

from collections.abc import Mapping

from bgpctl.core.net.objects import Drops
from bgpctl.kernel import inner_filter, nft, workload_filter


def read() -> Mapping[str, tuple[Drops, ...]]:
    """By the name of the link, in no order. Raises OSError."""
    found: dict[str, list[Drops]] = {}
    names = frozenset(name for _, name in nft.tables())
    if not names:
        return {}
    for link in inner_filter.links_with_tables(names):
        found.setdefault(link, []).extend(inner_filter.dropped(link))
    if workload_filter.TABLE in names:
        for link, by_reason in workload_filter.dropped().items():
            found.setdefault(link, []).extend(Drops(reason, packets) for reason, packets in by_reason.items())
    return {link: tuple(items) for link, items in found.items()}
