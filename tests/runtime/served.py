"""Sites of worlds, and what daemons left there."""

from __future__ import annotations

from clusterip.adapters.abi import BucketState
from clusterip.core.config.model import Config
from clusterip.core.config.reading import read
from clusterip.core.config.state import GROUP
from clusterip.core.rules import grammar as rules
from clusterip.runtime.served_interface import ServedInterface
from tests.core.config.texts import SMALL, config_with
from tests.runtime.worlds import ETH0, Fault, World

WEB = read(SMALL)
VIP = WEB.vips[0].address
CHANGED = config_with(vip='mac = "01:00:5e:00:00:21"')
MAIL = read(SMALL.replace('"web"', '"mail"'))
ELSEWHERE = read(SMALL.replace('"web"', '"mail"').replace("10.9.0.100", "10.9.0.7"))
RULE = (
    "-A INPUT -d {vip}/32 -i {interface} -p udp -j CLUSTERIP --new --hashmode sourceip"
    " --clustermac 01:00:5E:00:00:20 --total-nodes 3 --local-node 1 --manage-address"
)


def served(world: World, *alive: str, fault: Fault | None = None) -> ServedInterface:
    """Return the site of a world in which the daemons of those clusters live."""
    return ServedInterface(world.netns(*alive, fault=fault))


def entered(config: Config = WEB, *, serving: bool = False) -> World:
    """Return a world in which a daemon entered eth0, and what it had then, when it died."""
    world = World()
    served(world).enter(config, "eth0")
    if serving:
        maps = world.maps.by_index[ETH0.index]
        maps.set_bucket(GROUP, 2, BucketState.OWNED)
        maps.set_bucket(GROUP, 3, BucketState.DRAINING)
        maps.set_deadline(GROUP, 77)
    return world


def with_rule(interface: str = "eth0", vip: str = "10.9.0.9") -> World:
    world = World()
    words = RULE.format(vip=vip, interface=interface).split()
    world.table().add(rules.parse(words).rules, None, None)
    return world


def closed(world: World) -> bool:
    maps = world.maps.by_index[ETH0.index]
    return set(maps.bucket_states(GROUP)) == {BucketState.NONE} and maps.deadline(GROUP) == 0
