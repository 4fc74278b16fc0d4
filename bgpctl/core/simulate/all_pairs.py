"""
The verdict on all pairs of blocks of a cluster by its files alone.

The kernels of a thousand nodes have a route to each other block, and a policy judges each. But nodes that are alike
(sample.py) stand for each other: where all packets pass between those of a sample, all pass. Where some do not, every
pair is followed, so that each node that is concerned is named, as it is for running nodes.

Refuses to know: what is in any kernel now, how a packet is followed.
"""

from __future__ import annotations

from collections import Counter

from bgpctl.core.cluster.intent import Intent
from bgpctl.core.simulate.declared import blocks_of, everything
from bgpctl.core.simulate.sample import sample
from bgpctl.core.trace.announced import Owners
from bgpctl.core.trace.verify import Verdict, verify


def verdict(intent: Intent) -> Verdict:
    """The same as if every pair of blocks was followed."""
    few = sample(intent, intent).wanted
    if len(few.nodes) < len(intent.nodes) and not verify(*everything(few)).classes:
        return Verdict(_pairs(intent))
    return verify(*everything(intent))


def _pairs(intent: Intent) -> int:
    """Ordered pairs of blocks of one IP version on two nodes."""
    owners = Owners(intent)
    of_each = [Counter(block.prefix.version for block in blocks_of(intent, node, 0, owners)) for node in intent.nodes]
    of_all = sum(of_each, Counter[int]())
    return sum(number * (of_all[version] - number) for one in of_each for version, number in one.items())
