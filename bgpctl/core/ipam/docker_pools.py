"""
The pool of the cluster file that a network of Docker has, and its name in Docker's requests.

Docker asks for a pool with the options of `docker network create`, and names it in each later request by what we
answered. So the name has all that is needed: `blue`, or `blue/10.66.0.0/24` where addresses are to be in that prefix.

Without `--subnet` Docker is answered a pool of all addresses. It compares each answer with the routes of the host, on
which each workload has one, and asks again for ever while one is in the pool; with the route of everything it does not.

Refuses to know: Docker's encoding of requests, addresses in use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from bgpctl.core.cluster.configuration import Pool, Use
from bgpctl.core.ipam.blocks import NodeBlocks, NotGiven, Rule
from bgpctl.core.net.addresses import Prefix

EVERYTHING: Final = {4: Prefix(4, 0, 0), 6: Prefix(6, 0, 0)}
POOL_OPTION: Final = "pool"
"""Of `--ipam-opt`: the name of a pool, or of one of each IP version with a comma between."""


class DockerPool(NamedTuple):
    """A pool by its name, and the prefix that addresses are to be in, if not all of the pool."""

    name: str
    within: Prefix | None = None

    @classmethod
    def parse(cls, text: str) -> DockerPool:
        """Raises ValueError."""
        name, _, prefix = text.partition("/")
        return cls(name, Prefix.parse(prefix) if prefix else None)

    def __str__(self) -> str:
        return f"{self.name}/{self.within}" if self.within else self.name


class PoolRequest(NamedTuple):
    """`subnet` is that of `--subnet`, `part` that of `--ip-range`; `version` 4 or 6."""

    version: int
    subnet: Prefix | None = None
    part: Prefix | None = None
    options: Mapping[str, str] = {}


def docker_pool(request: PoolRequest, blocks: NodeBlocks, *, claims: bool = False) -> DockerPool:
    """The pool that is meant, if this node can give addresses of it, or `claims` blocks by itself. Raises NotGiven."""
    unknown = sorted(set(request.options) - {POOL_OPTION})
    if unknown:
        text = f"there is no --ipam-opt {unknown[0]}; there is: --ipam-opt {POOL_OPTION}=NAME"
        raise NotGiven(Rule.POOL_NOT_KNOWN, text)
    pool = _named(request, blocks) or _only(request, blocks)
    found = DockerPool(pool.name, _within(request, pool))
    usable = blocks.pool(pool.name)
    if not claims:
        blocks.range(usable, found.within)
    return found


def _named(request: PoolRequest, blocks: NodeBlocks) -> Pool | None:
    names = [name for name in request.options.get(POOL_OPTION, "").split(",") if name]
    pools = [blocks.pool(name) for name in names]
    found = [pool for pool in pools if pool.cidr.version == request.version]
    if len(found) > 1:
        raise NotGiven(Rule.SAME_VERSION, f"{' and '.join(pool.name for pool in found)} are two pools of one version")
    if names and not found:
        text = f"no pool of IPv{request.version} is named by --ipam-opt {POOL_OPTION}={','.join(names)}"
        raise NotGiven(Rule.SAME_VERSION, f"{text}; name one of each version: --ipam-opt {POOL_OPTION}=blue,blue6")
    return found[0] if found else None


def _only(request: PoolRequest, blocks: NodeBlocks) -> Pool:
    """The pool of the subnet, or the only one for workloads."""
    pools = [pool for pool in blocks.intent.pools if _may_be_meant(pool, request)]
    if len(pools) == 1:
        return pools[0]
    where = f" that {request.subnet} is in" if request.subnet else ""
    text = f"the cluster file has {_several(pools)} of IPv{request.version} for workloads{where}"
    raise NotGiven(Rule.POOL_NOT_KNOWN, f"{text}; choose one with --ipam-opt {POOL_OPTION}=NAME")


def _may_be_meant(pool: Pool, request: PoolRequest) -> bool:
    if pool.disabled or Use.WORKLOAD not in pool.allowed_uses or pool.cidr.version != request.version:
        return False
    return request.subnet is None or pool.cidr.covers(request.subnet)


def _several(pools: Sequence[Pool]) -> str:
    return f"{len(pools)} pools ({', '.join(pool.name for pool in pools)})" if pools else "no pool"


def _within(request: PoolRequest, pool: Pool) -> Prefix | None:
    for prefix in filter(None, (request.subnet, request.part)):
        if not pool.cidr.covers(prefix):
            raise NotGiven(Rule.OUTSIDE_BLOCKS, f"{prefix} is not in pool {pool.name}, which has {pool.cidr}")
    if request.subnet and request.part and not request.subnet.covers(request.part):
        raise NotGiven(Rule.OUTSIDE_BLOCKS, f"--ip-range {request.part} is not in --subnet {request.subnet}")
    return request.part or request.subnet
