"""
FelixConfiguration: the keys that touch routing and encapsulation, and why the others have no effect here.

Refuses to know: policy, and how Felix does anything.
"""

from __future__ import annotations

from typing import Any, Final

from bgpctl.core.cluster.configuration import Configuration
from bgpctl.core.intent.draft import Draft, located, spec_of
from bgpctl.core.intent.field_kinds import BOOLEAN, PORT, FieldKind, no_effect, risky, word
from bgpctl.core.intent.fields import Fields
from bgpctl.core.intent.settings import TUNNELS
from bgpctl.core.intent.tables import Table, rows_for, set_all
from bgpctl.core.intent.tree import shown

_POOLS: Final = "the pools decide which tunnels there are"
_ENCRYPTION: Final = "packets between nodes are not encrypted"
_NO_WIREGUARD: Final = "there is no WireGuard"
_NO_SOURCE: Final = "routes have no preferred source"


def _switched(because: str, kind: FieldKind[Any], *, risky_at: object) -> FieldKind[Any]:
    """A field without effect, of which one value asks for an effect that is missing here."""
    return risky(because, kind, when=lambda value: value == risky_at)


_TUNNELS: Final = rows_for(
    {
        "ipipEnabled": _switched(_POOLS, BOOLEAN, risky_at=False),
        "vxlanEnabled": _switched(_POOLS, BOOLEAN, risky_at=False),
        "externalNodesList": risky("only nodes of the cluster may send into a tunnel; give them as nodes"),
        "featureDetectOverride": risky("checksum offload of tunnel devices stays as the kernel has it"),
    }
)
_ROUTES: Final = rows_for(
    {
        "routeSource": _switched(
            "blocks and borrowed addresses are routed, not every workload",
            word("CalicoIPAM", "WorkloadIPs"),
            risky_at="WorkloadIPs",
        ),
        "ipForwarding": _switched("a node always forwards", word("Enabled", "Disabled"), risky_at="Disabled"),
        "routeSyncDisabled": _switched("to program routes is the purpose of bgpctl", BOOLEAN, risky_at=True),
        "deviceRouteSourceAddress": risky(_NO_SOURCE),
        "deviceRouteSourceAddressIPv6": risky(_NO_SOURCE),
    }
)
_NAT: Final = rows_for(
    {
        "natOutgoingAddress": risky("natOutgoing uses the address of the link that a packet leaves by"),
        "natPortRange": risky("natOutgoing uses any port but the one of VXLAN"),
        "iptablesNATOutgoingInterfaceFilter": risky("natOutgoing does not ask for the link"),
        "natOutgoingExclusions": _switched(
            "natOutgoing spares destinations inside the pools, and no others",
            word("IPPoolsOnly", "IPPoolsAndHostIPs"),
            risky_at="IPPoolsAndHostIPs",
        ),
    }
)
_WIREGUARD_PORTS: Final = ("wireguardListeningPort", "wireguardListeningPortV6")
_WIREGUARD: Final = rows_for(
    {
        "wireguardEnabled": _switched(_ENCRYPTION, BOOLEAN, risky_at=True),
        "wireguardEnabledV6": _switched(_ENCRYPTION, BOOLEAN, risky_at=True),
        "wireguardHostEncryptionEnabled": _switched(_ENCRYPTION, BOOLEAN, risky_at=True),
        **dict.fromkeys(_WIREGUARD_PORTS, no_effect(_NO_WIREGUARD, PORT)),
        **dict.fromkeys(
            (
                "wireguardInterfaceName",
                "wireguardInterfaceNameV6",
                "wireguardKeepAlive",
                "wireguardMTU",
                "wireguardMTUV6",
                "wireguardRoutingRulePriority",
                "wireguardThreadingEnabled",
            ),
            no_effect(_NO_WIREGUARD),
        ),
    }
)


_WITHOUT_EFFECT: Final = {
    "the MTU follows the link that has the node's address": "mtuIfacePattern requireMTUFile",
    "routes of bgpctl have protocol 179 and metric 1024": """
        deviceRouteProtocol ipv4NormalRoutePriority ipv4ElevatedRoutePriority ipv6NormalRoutePriority
        ipv6ElevatedRoutePriority routeTableRange routeTableRanges""",
    "bgpctl alone writes every route of an encapsulation": "programClusterRoutes localSubnetL2Reachability",
    "others' routes are never removed": "removeExternalRoutes",
    "the kernel is watched, and observed every 60 s": "routeRefreshInterval interfaceRefreshInterval netlinkTimeout",
    "IPv6 is on where there are IPv6 pools": "ipv6Support",
    "it is about policy, and bgpctl filters no packets": """
        allowIPIPPacketsFromWorkloads allowVXLANPacketsFromWorkloads chainInsertMode defaultEndpointToHostAction
        disableConntrackInvalidCheck failsafeInboundHostPorts failsafeOutboundHostPorts genericXDPEnabled
        ipsetsRefreshInterval iptablesBackend iptablesFilterAllowAction iptablesFilterDenyAction iptablesLockFilePath
        iptablesLockProbeInterval iptablesLockTimeout iptablesMangleAllowAction iptablesMarkMask
        iptablesPostWriteCheckInterval iptablesRefreshInterval maxIpsetSize nftablesFilterAllowAction
        nftablesFilterDenyAction nftablesMangleAllowAction nftablesMarkMask nftablesMode nftablesRefreshInterval
        policySyncPathPrefix sidecarAccelerationEnabled xdpEnabled xdpRefreshInterval windowsManageFirewallRules
        windowsNetworkName nfNetlinkBufSize""",
    "there are no services of Kubernetes or OpenStack": """
        floatingIPs kubeNodePortRanges metadataAddr metadataPort natOutgoingServices openstackRegion
        serviceLoopPrevention""",
    "bgpctl attaches no workloads: it routes their blocks": """
        awsSrcDstCheck endpointReportingDelay endpointReportingEnabled endpointStatusPathPrefix interfaceExclude
        interfacePrefix workloadSourceSpoofing""",
    "it is about Felix's eBPF dataplane": """
        bpfAttachType bpfCTLBLogFilter bpfConnectTimeLoadBalancing bpfConnectTimeLoadBalancingEnabled
        bpfConntrackLogLevel bpfConntrackMode bpfConntrackTimeouts bpfDSROptoutCIDRs bpfDataIfacePattern
        bpfDisableGROForIfaces bpfDisableUnprivileged bpfEnabled bpfEnforceRPF bpfExcludeCIDRsFromNAT
        bpfExportBufferSizeMB bpfExtToServiceConnmark bpfExternalServiceMode bpfForceTrackPacketsFromIfaces
        bpfHostConntrackBypass bpfHostNetworkedNATWithoutCTLB bpfIstioDSCP bpfJITHardening
        bpfKubeProxyEndpointSlicesEnabled bpfKubeProxyHealthzPort bpfKubeProxyIptablesCleanupEnabled
        bpfKubeProxyMinSyncPeriod bpfL3IfacePattern bpfLogFilters bpfLogLevel bpfMaglevMaxEndpointsPerService
        bpfMaglevMaxServices bpfMapSizeConntrack bpfMapSizeConntrackCleanupQueue bpfMapSizeConntrackScaling
        bpfMapSizeIPSets bpfMapSizeIfState bpfMapSizeNATAffinity bpfMapSizeNATBackend bpfMapSizeNATFrontend
        bpfMapSizePerCpuConntrack bpfMapSizeRoute bpfOverlayHostSourceIP bpfPSNATPorts bpfPolicyDebugEnabled
        bpfProfiling bpfRedirectToPeer cgroupV2Path istioAmbientMode istioDSCPMark""",
    "it is about Felix's own process, health, logs and metrics": """
        dataplaneDriver dataplaneWatchdogTimeout debugDisableLogDropping debugHost debugMemoryProfilePath debugPort
        debugSimulateCalcGraphHangAfter debugSimulateDataplaneApplyDelay debugSimulateDataplaneHangAfter featureGates
        flowLogsCollectorDebugTrace flowLogsFlushInterval flowLogsGoldmaneServer flowLogsLocalReporter
        flowLogsPolicyEvaluationMode goGCThreshold goMaxProcs goMemoryLimitMB healthEnabled healthHost healthPort
        healthTimeoutOverrides logDebugFilenameRegex logFilePath logPrefix logActionRateLimit
        logActionRateLimitBurst logSeverityFile logSeverityScreen logSeveritySys prometheusGoMetricsEnabled
        prometheusMetricsCAFile prometheusMetricsCertFile prometheusMetricsClientAuth prometheusMetricsEnabled
        prometheusMetricsHost prometheusMetricsKeyFile prometheusMetricsPort prometheusProcessMetricsEnabled
        prometheusWireGuardMetricsEnabled reportingInterval reportingTTL usageReportingEnabled
        usageReportingInitialDelay usageReportingInterval useInternalDataplaneDriver""",
}
"""Why each group of Felix's other keys changes nothing here."""

FELIX: Final = Table(
    (
        *TUNNELS,
        *_TUNNELS,
        *_ROUTES,
        *_NAT,
        *_WIREGUARD,
        *rows_for({key: no_effect(because) for because, keys in _WITHOUT_EFFECT.items() for key in keys.split()}),
    ),
    Configuration,
)
_OTHERS: Final = Table(FELIX.rows[len(TUNNELS) :])
_HONOURED: Final = tuple(row.key for row in TUNNELS)


def read_felix(draft: Draft, fields: Fields, name: str) -> None:
    """The global one is named default; node.NAME overrides, which is only possible for settings without effect."""
    spec = spec_of(fields)
    if name.startswith("node."):
        spec.unsupported("it is the same on every node here; set it in the one named default", *_HONOURED)
        _OTHERS.read(spec)
    elif name == "default":
        set_all(draft, FELIX, spec)
    else:
        message = f"{shown(name)} is neither default nor node.NAME"
        fields.problems.add(fields.place, fields.path, message, "configuration-name")
        spec.ignore(*_HONOURED)
        _OTHERS.read(spec)
    for key in _WIREGUARD_PORTS:
        port = PORT.read(spec, key)
        if port is not None:
            draft.udp_ports.append((port, "WireGuard", located(spec, key)))
    spec.finish()
