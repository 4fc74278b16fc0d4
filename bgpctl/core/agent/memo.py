"""
The last results of the agent's stages, each with all that it follows from: to be spared the same work next time.

An observation decides from everything that is known (reconcile.py). With 50,000 routes nearly all of that is as it was
a moment ago. So each stage is given its result `before`, and takes over whatever has the identical input now:

| stage | its input is named in | result |
|---|---|---|
| surroundings | core/net/dataplane.py: `surroundings` | the part of the observation that is not ours |
| costs of next hops | core/bgp/next_hop_cost.py: `NextHopCosts` | how far each is |
| import policy | core/bgp/loc_rib.py: `VerdictInput` | a verdict on each path |
| decision | core/bgp/loc_rib.py: `ChoiceInput`, and the costs | Loc-RIB |
| what should be | core/fabric/derive.py: `BaseInput`, `LearnedInput`, `MembersInput`, … | `Desired` |
| plan | core/net/route_set.py: `Difference` | what is missing and what is too much |
| export policy | core/bgp/export_policy.py: `announceable`, `PeerExportInput` | Adj-RIB-Out of each peer |
| shadowed routes | core/trace/shadows.py: `Suspects` | what is foreign and may be consulted first |
| paths to be proven | core/proof/paths.py: `PathsInput` | the paths |

A memo is no knowledge. It is no part of what makes two states equal and not in a journal, and nothing but time is lost
without it (docs/decisions/0018).

Refuses to know: how anything is derived.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bgpctl.core.bgp.adj_rib_out import Exports
from bgpctl.core.bgp.export_policy import Announceable
from bgpctl.core.bgp.loc_rib import Decision
from bgpctl.core.bgp.next_hop_cost import NextHopCosts
from bgpctl.core.fabric.derive import Derivation
from bgpctl.core.fabric.desired import Links
from bgpctl.core.net.dataplane import Comparison, Surroundings
from bgpctl.core.proof.paths import PathsInput
from bgpctl.core.trace.shadows import Suspects


def _unknown_costs() -> NextHopCosts:
    return NextHopCosts(None)


def _no_links() -> Links:
    return Links(None)


@dataclass(frozen=True, slots=True)
class Memo:
    """The last result of each stage; None before the first."""

    surroundings: Surroundings | None = None
    costs: NextHopCosts = field(default_factory=_unknown_costs)
    decision: Decision | None = None
    derivation: Derivation | None = None
    comparison: Comparison | None = None
    announceable: Announceable | None = None
    links: Links = field(default_factory=_no_links)
    advertised: Exports = field(default_factory=dict)
    suspects: Suspects | None = None
    paths: PathsInput | None = None
