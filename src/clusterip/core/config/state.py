"""From a configuration to the state of the interface that its VIPs are shared on.

One bucket table serves all VIPs of the file, so ownership costs the same for 1 or for 60 of them.
Each service becomes a rule that covers its packets and says what becomes of them.
"""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Final

from clusterip.core.config.model import Config, Service, Vip
from clusterip.core.packets.hashing import SOURCE_PREFIX6, HashMode
from clusterip.core.packets.model import ALL_PORTS, Match, Ports, Rule, Sharing
from clusterip.core.packets.state import Entry, Group, InterfaceState
from clusterip.core.rules.matches import AUTOMATIC, MULTIPORT

GROUP: Final = 0
"""The index of the one bucket table."""


def interface_state(config: Config, index: int, name: str) -> InterfaceState:
    """Return what the interface with that ifindex and name shall be."""
    services = [(vip, service) for vip in config.vips for service in vip.services]
    return InterfaceState(
        index,
        name,
        groups=tuple(
            Group(GROUP, vip.address, _sharing(config, vip, vip.services[0].mode))
            for vip in config.vips
        ),
        entries=tuple(
            Entry(position, position + 1, _rule(config, vip, service, name))
            for position, (vip, service) in enumerate(services)
        ),
        cluster=config.name,
    )


def _sharing(config: Config, vip: Vip, mode: HashMode) -> Sharing:
    # Without meaning for IPv4: a change of it must not touch what IPv4 VIPs have.
    prefix6 = config.source_prefix6 if isinstance(vip.address, IPv6Address) else SOURCE_PREFIX6
    return Sharing(mode, vip.mac, config.buckets, config.hash_init, prefix6)


def _rule(config: Config, vip: Vip, service: Service, name: str) -> Rule:
    sharing = _sharing(config, vip, service.mode)
    return Rule(
        vip.address,
        name,
        _match(service),
        sharing,
        local_node=0,
        manage_address=True,
        action=service.action,
        bucket=service.bucket,
    )


def _match(service: Service) -> Match:
    if service.ports == ALL_PORTS:
        return Match(service.protocol)
    # UDP-Lite has no match of its own: iptables names its ports through multiport.
    module = AUTOMATIC.get(service.protocol, MULTIPORT)
    return Match(service.protocol, destination_ports=(Ports(module, (service.ports,)),))
