"""Every key of the configuration file, declared once, by table.

A table that was read has the values of its keys as attributes. Rules that concern several keys are
in `sections` and `reading`. The rows of docs/configuration.md are made from here by `make format`.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Final

from clusterip.core import announcement, limits
from clusterip.core.config import values
from clusterip.core.config.declaring import (
    DEAF,
    IN_PLACE,
    ONE_NODE,
    RESTART,
    UNEQUAL,
    Key,
    untouched,
)
from clusterip.core.config.model import Profile, Quorum, Stop
from clusterip.core.config.table import Table
from clusterip.core.packets.hashing import SOURCE_PREFIX6, HashMode
from clusterip.core.packets.model import ServiceAction
from clusterip.core.units import MILLISECOND, SECOND

KEY_FILE: Final = "/etc/clusterip.key"
PORT: Final = 5407
BUCKETS: Final = 120
"""Divides evenly among 1 to 6, 8, 10, 12, 15, 20, 24 and 30 hosts; a bucket is under 1 %."""
STATUSES: Final[tuple[values.Range, ...]] = ((200, 299),)
_MACS: Final = "see [cluster MACs](#cluster-macs)"
_CONNECTING: Final = ("tcp", "http")
_HTTP: Final = ("http",)
_COMMAND: Final = ("command",)


class Cluster(Table, title="cluster"):
    """What [cluster] says."""

    name = Key(values.name, None, DEAF, example='"web"').says(
        "tells this cluster from others on the same segment; a name"
    )
    key_file = Key(values.absolute, KEY_FILE, IN_PLACE).says(
        "[the keys](#the-key-file) that authenticate messages; an absolute path"
    )
    interface = Key(values.interface, None, RESTART).says(
        "where the VIPs live, for every node that does not say otherwise; at most 15 characters"
    )
    port = Key(values.whole(1, 65535), PORT, DEAF).says("UDP port of the daemons, {range}")
    profile = Key(values.word(Profile), Profile.DEFAULT, UNEQUAL).says(
        'how fast a death is noticed: survivors serve within 1 s (`"default"`), 0.3 s (`"fast"`) or'
        ' 5 s (`"relaxed"`, for busy or virtual machines)'
    )
    quorum = Key(values.word(Quorum), None, IN_PLACE, absent="by nodes").says(
        'whose consent a host needs: that of the `"majority"` of all voters; or, of two, only that'
        ' of those `"alive"`. Every node is a voter. The default is alive for two, else majority.'
        " With alive, when the network between the two breaks,"
        " [both answer](operations.md#two-hosts); with three voters or more it is the same as"
        " majority"
    )
    stop = Key(values.word(Stop), Stop.RELEASE, IN_PLACE).says(
        'what stopping the daemon does: give its buckets up at once (`"release"`), or first let'
        ' their connections end (`"drain"`)'
    )
    drain_timeout = Key(
        values.duration(SECOND, 24 * values.HOUR), 5 * values.MINUTE, IN_PLACE
    ).says("how long a drain waits for connections to end, {range}")
    udp_watch = Key(values.duration(0, values.MINUTE), 2 * SECOND, IN_PLACE).says(
        "for how long a bucket is watched before it moves, so that"
        ' [what is not TCP](operations.md#udp-while-buckets-move) stays where it began; `"0s"` for'
        " not at all, at most `{high}`. Where only TCP is served nothing is watched"
    )
    udp_keep = Key(values.duration(SECOND, values.HOUR), 30 * SECOND, IN_PLACE).says(
        "how long what began on a host stays there after a move, unless it is TCP; {range}"
    )
    announce_count = Key(values.whole(0, 20), announcement.COUNT, IN_PLACE).says(
        "how many times the VIPs are [announced](operations.md#clients-that-had-another-mac) with"
        " their MACs when this host begins to serve, and when its link comes while it does,"
        " {range}; {low} for not at all"
    )
    announce_interval = Key(
        values.duration(100 * MILLISECOND, values.MINUTE), announcement.INTERVAL, IN_PLACE
    ).says("from one announcement of a VIP to the next, {range}")
    buckets = Key(values.whole(1, limits.BUCKETS), BUCKETS, UNEQUAL).says(
        "into how many parts the traffic is divided, {range}. A node's share is fair to within one."
        f" {BUCKETS} divides evenly among 1 to 6, 8, 10 and 12 hosts"
    )
    hash_init = Key(values.whole(0, 0xFFFFFFFF), 0, UNEQUAL).says(
        "initial value of the hash, {range}; of `xt-cluster` and `nft-jhash` the seed"
    )
    source_prefix6 = Key(
        values.whole(1, 128), SOURCE_PREFIX6, UNEQUAL, counts=lambda config: config.ipv6()
    ).says(
        "how many bits of an IPv6 source address are hashed, {range}: a client that changes its"
        " address within its network keeps its host. Without IPv6 VIPs it means nothing, nor does"
        " it to `xt-cluster` and `nft-jhash`"
    )
    mac = Key(values.mac, None, UNEQUAL, absent="by VIP").says(f"cluster MAC of all VIPs; {_MACS}")
    status_group = Key(values.group, None, IN_PLACE, absent="clusterip, where it is").says(
        "the group of users whose members may"
        " [see the status and the events](operations.md#who-may-look) without being root"
    )


class Service(Table, title="vip.service"):
    """What a [[vip.service]] says."""

    protocol = Key(values.protocol, None, UNEQUAL, example='"tcp"').says(
        'a name (`"tcp"`, `"udp"`, `"icmp"`, for IPv6 `"ipv6-icmp"`), a number as text (`"47"`), or'
        ' `"all"`'
    )
    ports = Key(values.ranges(1, 65535, "8000-8100"), None, UNEQUAL, absent="all").says(
        'destination ports, {range}: `80`, `"8000-8100"`, or an array of these. For tcp, udp,'
        " udplite, sctp and dccp only"
    )
    action = Key(values.word(ServiceAction), ServiceAction.BALANCE, UNEQUAL).says(
        'what becomes of the packets: shared among the hosts by `hashmode` (`"balance"`); all to'
        ' the host that holds one bucket (`"single"`); discarded by every host, and counted'
        ' (`"drop"`)'
    )
    bucket = Key(values.whole(1, limits.BUCKETS), 1, UNEQUAL).says(
        "single: which bucket, {low}..`buckets`"
    )
    hashmode = Key(values.word(HashMode), None, UNEQUAL, absent="that of the VIP").says(
        "balance: as above, for this service"
    )


class Vip(Table, title="vip"):
    """What a [[vip]] says."""

    address = Key(values.vip, None, UNEQUAL, example='"10.9.0.100"').says(
        'the VIP, `"10.9.0.100"` or `"2001:db8::100"`, without a prefix length; not one of'
        " `fe80::/10`"
    )
    hashmode = Key(values.word(HashMode), HashMode.SOURCEIP_SOURCEPORT, UNEQUAL).says(
        'what keeps a client on one host: `"sourceip"`, `"sourceip-sourceport"` or'
        ' `"sourceip-sourceport-destport"`; or the source address as others hash it, for [moving'
        " from them](operations.md#moving-from-xt_cluster-or-nft-jhash):"
        ' `"xt-cluster"`, `"nft-jhash"`'
    )
    mac = Key(values.mac, None, UNEQUAL, absent="that of `[cluster]`, else by VIP").says(
        f"cluster MAC of this VIP; {_MACS}"
    )
    service = Key(untouched, None, UNEQUAL, absent="everything").says(
        "what of the VIP is served: `[[vip.service]]`, below. Without any, all packets to the VIP"
        " are shared by `hashmode`"
    )


class Node(Table, title="node"):
    """What a [[node]] says."""

    name = Key(values.name, None, ONE_NODE, example='"web1"').says("the host's name")
    address = Key(values.addresses, None, IN_PLACE, field="addresses").says(
        "where messages to it are sent: an address, or an array of several (unicast). Without one,"
        " messages reach it by broadcast on the interface of the sender"
    )
    weight = Key(values.whole(0, 255), 100, IN_PLACE).says(
        "its share in proportion to the others', {range}; with {low} it takes no bucket, and keeps"
        " those that it has until others take them: where all have {low} they serve on with what"
        " they had. Not for a witness"
    )
    interface = Key(values.interface, None, RESTART, absent="that of `[cluster]`").says(
        "where the VIPs live on this host; a witness only sends from it"
    )
    witness = Key(values.boolean, False, RESTART).says(
        "whether it only votes, and serves nothing: run by `clusterip witness`"
    )


class Check(Table, title="check"):
    """What a [[check]] says."""

    type = Key(
        values.one_of("type", (*_CONNECTING, *_COMMAND)), None, IN_PLACE, example='"http"'
    ).says(
        '`"tcp"`: a connection can be made. `"http"`: a GET is answered as it should be.'
        ' `"command"`: a program exits with 0'
    )
    name = Key(values.name, None, IN_PLACE, absent="from its target").says(
        "what it is called in messages; a name, none twice"
    )
    interval = Key(values.duration(100 * MILLISECOND, values.HOUR), 2 * SECOND, IN_PLACE).says(
        "from one check to the next, {range}"
    )
    timeout = Key(values.duration(100 * MILLISECOND, values.HOUR), SECOND, IN_PLACE).says(
        "when it counts as bad, `{low}`..`interval`; a shorter interval makes it that"
    )
    rise = Key(values.whole(1, 100), 2, IN_PLACE).says(
        "good results in a row that make a node healthy, {range}"
    )
    fall = Key(values.whole(1, 100), 3, IN_PLACE).says(
        "bad results in a row that make it unhealthy, {range}"
    )
    address = Key(values.address, IPv4Address("127.0.0.1"), IN_PLACE, of=_CONNECTING).says(
        "where to connect"
    )
    port = Key(values.whole(1, 65535), None, IN_PLACE, example="80", of=_CONNECTING).says("{range}")
    host = Key(values.host, None, IN_PLACE, absent="the address", of=_HTTP).says("the Host header")
    path = Key(values.url_path, "/", IN_PLACE, of=_HTTP).says(
        "what to get, at most 1024 characters"
    )
    status = Key(
        values.ranges(100, 599, "200-399"), STATUSES, IN_PLACE, of=_HTTP, field="statuses"
    ).says('which statuses are good, {range}: `200`, `"200-399"`, or an array')
    body = Key(values.body, "", IN_PLACE, absent="none", of=_HTTP).says(
        "text that must be part of the answer, 1 to 1024 characters"
    )
    command = Key(
        values.argv, None, IN_PLACE, example='["/usr/lib/checks/web"]', of=_COMMAND, field="argv"
    ).says(
        "an array of words, 1 to 64, the first an absolute path; no shell reads it. What it starts"
        " and leaves running is killed"
    )


class File(Table, title=""):
    """What the file says: its tables."""

    cluster = Key(untouched, None, IN_PLACE)
    vip = Key(untouched, None, IN_PLACE)
    node = Key(untouched, None, IN_PLACE)
    check = Key(untouched, None, IN_PLACE)

    @classmethod
    def cure(cls, key: str) -> str:
        """Say what to do about an unknown key."""
        return "write [cluster] above it" if key in Cluster.names() else super().cure(key)


TABLES: Final[tuple[type[Table], ...]] = (File, Cluster, Vip, Service, Node, Check)
KEYS: Final = {kind.title: kind.names() for kind in TABLES}
"""The names of the keys by table; arrays of tables are named like tables."""
