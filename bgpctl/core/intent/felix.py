"""
FelixConfiguration: the keys that touch routing and encapsulation, and why the others have no effect here.

Refuses to know: policy, and how Felix does anything.
"""

from __future__ import annotations

from typing import Final

from bgpctl.core.intent.draft import Draft, located, spec_of
from bgpctl.core.intent.fields import Fields
from bgpctl.core.intent.settings import read_mtus, read_vni_and_port
from bgpctl.core.intent.tree import shown

_HONOURED: Final = ("vxlanVNI", "vxlanPort", "ipipMTU", "vxlanMTU", "vxlanMTUV6")


def read_felix(draft: Draft, fields: Fields, name: str) -> None:
    """The global one is named default; node.NAME overrides, which is only possible for what has no effect."""
    spec = spec_of(fields)
    if name.startswith("node."):
        spec.unsupported("it is the same on every node here; say it in the one named default", *_HONOURED)
    elif name == "default":
        read_vni_and_port(draft, spec)
        read_mtus(draft, spec)
    else:
        message = f"{shown(name)} is neither default nor node.NAME"
        fields.problems.add(fields.place, fields.path, message, "configuration-name")
        spec.ignore(*_HONOURED)
    _tunnels(spec)
    _routes(spec)
    _nat(spec)
    _wireguard(draft, spec)
    for because, keys in _WITHOUT_EFFECT.items():
        spec.no_effect(because, *keys.split())
    spec.finish()


def _tunnels(spec: Fields) -> None:
    for key in ("ipipEnabled", "vxlanEnabled"):
        because = "the pools decide which tunnels there are"
        (spec.risky if spec.boolean(key) is False else spec.no_effect)(because, key)
    spec.risky("only nodes of the cluster may send into a tunnel; give them as nodes", "externalNodesList")
    spec.risky("checksum offload of tunnel devices stays as the kernel has it", "featureDetectOverride")


def _routes(spec: Fields) -> None:
    blocks = "blocks and borrowed addresses are routed, not every workload"
    is_other = spec.one_of("routeSource", ("CalicoIPAM", "WorkloadIPs")) == "WorkloadIPs"
    (spec.risky if is_other else spec.no_effect)(blocks, "routeSource")
    is_off = spec.one_of("ipForwarding", ("Enabled", "Disabled")) == "Disabled"
    (spec.risky if is_off else spec.no_effect)("a node always forwards", "ipForwarding")
    (spec.risky if spec.boolean("routeSyncDisabled") else spec.no_effect)(
        "routes are what bgpctl is for", "routeSyncDisabled"
    )
    spec.risky("routes have no preferred source", "deviceRouteSourceAddress", "deviceRouteSourceAddressIPv6")


def _nat(spec: Fields) -> None:
    spec.risky("natOutgoing uses the address of the link that a packet leaves by", "natOutgoingAddress")
    spec.risky("natOutgoing uses any port but the one of VXLAN", "natPortRange")
    spec.risky("natOutgoing does not ask for the link", "iptablesNATOutgoingInterfaceFilter")
    exclusions = spec.one_of("natOutgoingExclusions", ("IPPoolsOnly", "IPPoolsAndHostIPs"))
    because = "natOutgoing spares destinations inside the pools, and no others"
    (spec.risky if exclusions == "IPPoolsAndHostIPs" else spec.no_effect)(because, "natOutgoingExclusions")


def _wireguard(draft: Draft, spec: Fields) -> None:
    because = "packets between nodes are not encrypted"
    for key in ("wireguardEnabled", "wireguardEnabledV6", "wireguardHostEncryptionEnabled"):
        (spec.risky if spec.boolean(key) else spec.no_effect)(because, key)
    for key in ("wireguardListeningPort", "wireguardListeningPortV6"):
        port = spec.integer(key, 1, 65535)
        if port is not None:
            draft.udp_ports.append((port, "WireGuard", located(spec, key)))
    rest = "wireguardInterfaceName wireguardInterfaceNameV6 wireguardKeepAlive wireguardListeningPort"
    spec.no_effect("there is no WireGuard", *rest.split(), "wireguardListeningPortV6", "wireguardMTU", "wireguardMTUV6")
    spec.no_effect("there is no WireGuard", "wireguardRoutingRulePriority", "wireguardThreadingEnabled")


_WITHOUT_EFFECT: Final = {
    "the MTU follows the link that has the node's address": "mtuIfacePattern requireMTUFile",
    "routes of bgpctl have protocol 179 and metric 1024": """
        deviceRouteProtocol ipv4NormalRoutePriority ipv4ElevatedRoutePriority ipv6NormalRoutePriority
        ipv6ElevatedRoutePriority routeTableRange routeTableRanges""",
    "bgpctl alone writes every route of an encapsulation": "programClusterRoutes localSubnetL2Reachability",
    "others' routes are never removed": "removeExternalRoutes",
    "the kernel is watched, and looked at every 60 s": "routeRefreshInterval interfaceRefreshInterval netlinkTimeout",
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
