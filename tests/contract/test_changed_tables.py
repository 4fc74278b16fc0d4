"""Tables of ours that another program changed, on the running kernel: they are read as not ours, and put again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, Final, NamedTuple

import pytest

from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.objects import Decap, InnerFilter, KernelObject, Masquerade, WorkloadFilter
from bgpctl.kernel import inner_filter, masquerade, nft, vxlan_guard, workload_filter
from bgpctl.kernel.ipip import TABLE, module
from bgpctl.kernel.linux import LinuxKernel
from tests.contract.kernel_rig import KIND, VXLAN, own_namespace, put, shell

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

POOL: Final = (Prefix.parse("10.244.0.0/16"),)
NAT: Final = Masquerade(POOL, POOL, (4790, 65535))
DECAP: Final = Decap(VXLAN.name, "eth0", KIND.local, (Address.parse("10.0.0.2"),))
INNER: Final = InnerFilter(VXLAN.name, 4, DECAP.sources, DECAP.own, POOL, (Prefix.parse("10.245.0.0/26"),))
WORKLOADS: Final = WorkloadFilter(POOL, POOL, (4789,), 179)
_COMMENTED: Final = '10.3.0.1 comment "by hand"'


class Table(NamedTuple):
    """A table of ours, the object that it stands for, how it is read, and elements that we never write."""

    family: str
    name: str
    wanted: KernelObject
    parse: Callable[[list[dict[str, Any]]], Any]
    elements: tuple[str, ...] = (_COMMENTED,)


TABLES: Final = {
    "masquerade": Table("ip", "bgpctl_nat", NAT, masquerade.parse, (_COMMENTED, "10.3.0.1-10.3.0.9")),
    "inner_filter": Table(
        "netdev", "bgpctl_inner_vxlan_test", INNER, inner_filter.parse, (_COMMENTED, "10.3.0.1-10.3.0.9")
    ),
    "vxlan_guard": Table("ip", "bgpctl_vxlan_test", DECAP, lambda listed: vxlan_guard.parse(VXLAN.name, 4, listed)),
    "workload_filter": Table("inet", workload_filter.TABLE, WORKLOADS, workload_filter.parse, ()),
    "ipip": Table("ip", TABLE, DECAP._replace(link="tunl0"), module.parse),
}
ABSENT: Final = object()
MEDDLING: Final[tuple[Any, ...]] = (
    None,
    True,
    7,
    "",
    "other",
    {},
    [],
    [[]],
    {"range": ["10.3.0.1", "10.3.0.9"]},
    {"elem": {"val": "::"}},
)


@pytest.fixture
def kernel() -> Iterator[LinuxKernel]:
    """With everything that the tables stand for; the ipip module's table is there without the module."""
    with own_namespace():
        shell(
            "link add eth0 type veth peer name far",
            "link set eth0 up",
            "link set far up",
            "addr add 10.0.0.1/24 dev eth0",
        )
        with closing(LinuxKernel()) as found:
            found.watch(lambda: None)
            put(found, VXLAN, DECAP, INNER, NAT, WORKLOADS)
            nft.replace(TABLE, module.ruleset(DECAP))
            yield found


@pytest.mark.parametrize(("name", "element"), [(name, item) for name in TABLES for item in TABLES[name].elements])
def test_a_table_with_an_element_that_we_never_write_is_put_again(kernel: LinuxKernel, name: str, element: str) -> None:
    table = TABLES[name]
    subprocess.run(("nft", "add", "element", table.family, table.name, "sources", f"{{ {element} }}"), check=True)
    assert table.parse(nft.listed(table.name, table.family)) is None
    assert table.wanted not in kernel.observe()
    if name != "ipip":
        put(kernel, table.wanted)
        assert table.wanted in kernel.observe()


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("name", TABLES)
def test_no_listing_ends_the_reader(name: str) -> None:
    table = TABLES[name]
    listed = nft.listed(table.name, table.family)
    assert table.parse(listed) is not None
    for changed in meddled(listed):
        hash(table.parse(changed))  # an observation is a set


def meddled(listed: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The listing with something else in each place in turn, or without it; copied as far as it is another."""
    for place in places(listed):
        yield from (changed_at(listed, place, other) for other in (*MEDDLING, ABSENT))


def changed_at(value: Any, place: tuple[Any, ...], other: object) -> Any:
    """The value with something else in one place, or without it."""
    step, *rest = place
    changed = value.copy()
    if rest:
        changed[step] = changed_at(value[step], tuple(rest), other)
    elif other is ABSENT:
        del changed[step]
    else:
        changed[step] = other
    return changed


def places(value: Any) -> Iterator[tuple[Any, ...]]:
    """The path to each value inside this one."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inside in steps:
        yield (step,)
        yield from ((step, *rest) for rest in places(inside))
