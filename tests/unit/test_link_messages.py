"""Requests for links: an attribute that nobody knows is an error, and none is left out silently."""

from __future__ import annotations

import pytest

from bgpctl.kernel import link_messages
from bgpctl.kernel.netlink import attributes

IFLA_IFNAME, IFLA_MTU, IFLA_LINKINFO, IFLA_INFO_KIND, IFLA_INFO_DATA = 3, 4, 18, 1, 2
IFINFOMSG_BYTES = 16


def test_a_request_has_each_attribute_that_was_given() -> None:
    request = link_messages.create_link(
        {"ifname": "x", "mtu": 1450, "kind": "vxlan", "vxlan_id": 7, "vxlan_port": 4789}
    )
    found = attributes(request.body, IFINFOMSG_BYTES)
    info = attributes(found[IFLA_LINKINFO])
    assert (found[IFLA_IFNAME], found[IFLA_MTU]) == (b"x\0", (1450).to_bytes(4, "little"))
    assert info[IFLA_INFO_KIND].rstrip(b"\0") == b"vxlan"
    assert attributes(info[IFLA_INFO_DATA]) == {1: (7).to_bytes(4, "little"), 15: (4789).to_bytes(2, "big")}


@pytest.mark.parametrize("name", ["mac", "vxlan_id"])
def test_an_attribute_of_no_link_is_an_error(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        link_messages.change_link(1, {"ifname": "x", name: "y"})
