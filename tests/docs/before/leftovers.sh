# What Calico, flannel and kube-router leave on a node, for docs/how-to/leftovers.md.
set -e
ip route add 10.244.4.0/26 via 10.0.0.254 proto bird
ip route add blackhole 10.244.1.0/26 proto bird
ip link add vxlan.calico type vxlan id 4096 dstport 4789 local 10.0.0.1
iptables -N cali-FORWARD
iptables -A FORWARD -m comment --comment cali:wUHhoiAYhphO9Mso -j cali-FORWARD
iptables -A cali-FORWARD -i cali+ -j DROP

ip link add flannel.1 type vxlan id 1 dstport 8472 local 10.0.0.1
ip link add cni0 type bridge
ip link set cni0 up
iptables -t nat -N FLANNEL-POSTRTG
iptables -t nat -A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
iptables -N FLANNEL-FWD
iptables -A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
mkdir -p /run/flannel
echo FLANNEL_SUBNET=10.244.1.1/24 >/run/flannel/subnet.env

ip route add 10.244.5.0/24 via 10.0.0.254 proto 17
ip link add kube-bridge type bridge
ip link add kube-dummy-if type bridge
ip rule add from 10.244.1.0/24 lookup 77
ip route add 10.244.6.0/24 via 10.0.0.254 table 77
iptables -N KUBE-ROUTER-FORWARD
iptables -A FORWARD -m comment --comment "kube-router netpol" -j KUBE-ROUTER-FORWARD
