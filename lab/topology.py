"""The lab: a switch, hosts and clients, each a network namespace of its own.

       client c1: 10.9.1.1 .. 10.9.1.32          each client has many addresses, so that
            | eth0                               a hash of the source address spreads
    +-------+--------------------------+
    |  br0: a switch, which floods     |         no interface is ever in the root namespace
    |  multicast to every port         |
    +---+-----------+-----------+------+
        | eth0      | eth0      | eth0
     host h1     host h2     host h3
     10.9.0.1    10.9.0.2    10.9.0.3            MAC addresses 02:00:00:00:00:01, ..:02, ..:03

The VIP, 10.9.0.100, and the cluster MAC are brought in by whoever uses the lab. Namespaces are
named RUN-h1 and so on, with a RUN of its own for each lab, so that labs run side by side.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from lab.cleanup import PINS, claimed_run, signals_held
from lab.namespace import Namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AnyLab = TypeVar("AnyLab", bound="Lab")

VIP: Final = "10.9.0.100"
CLUSTER_MAC: Final = "01:00:5e:00:00:20"
CLIENT_ADDRESSES: Final = 32
CLIENT_PORTS: Final = range(20000, 32768)  # below those that the kernel gives out by itself


class Node(Namespace):
    """A namespace with an interface `eth0` at the switch. `addresses` are on it, without prefix."""

    def __init__(self, name: str, run: Path, mac: str, addresses: list[str]) -> None:
        super().__init__(name, f"{run.name}-{name}", run)
        self.mac = mac
        self.addresses = addresses

    @property
    def address(self) -> str:
        """Its first address."""
        return self.addresses[0]

    def neighbour(self, address: str) -> str:
        """Return the MAC that `address` resolves to here, "" if it is not known."""
        entries = json.loads(self.run("ip", "-json", "neighbour", "show", address).stdout)
        return next((entry["lladdr"] for entry in entries if "lladdr" in entry), "")


class Host(Node):
    """A node that shares VIPs. `number` counts from 1."""

    def __init__(self, number: int, run: Path) -> None:
        super().__init__(f"h{number}", run, f"02:00:00:00:00:{number:02x}", [f"10.9.0.{number}"])
        self.number = number

    @property
    def pins(self) -> Path:
        """Where the tool keeps the BPF objects of this namespace."""
        return PINS / str(self.cookie)

    def clusterip(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the `clusterip` command here."""
        return self.run("clusterip", *arguments, check=check)

    def show(self) -> Any:
        """Return what `clusterip show --json` says."""
        return json.loads(self.clusterip("show", "--json", check=False).stdout)

    def add_address(self, vip: str) -> None:
        """Add a VIP as the administrator does."""
        self.run("ip", "address", "add", f"{vip}/32", "dev", "eth0")


class Client(Node):
    """A node that asks. It has CLIENT_ADDRESSES addresses, 10.9.NUMBER.1 and on."""

    def __init__(self, number: int, run: Path) -> None:
        addresses = [f"10.9.{number}.{last}" for last in range(1, CLIENT_ADDRESSES + 1)]
        super().__init__(f"c{number}", run, f"02:00:00:00:01:{number:02x}", addresses)
        self._ports = itertools.cycle(CLIENT_PORTS)

    def fresh_port(self) -> int:
        """Return a port that was not given out for a long time, so that no server knows it."""
        return next(self._ports)


class Lab:
    """All nodes. Made by `lab`."""

    def __init__(self, run: Path, hosts: int, clients: int) -> None:
        self.directory = run
        self.switch = Namespace("switch", f"{run.name}-switch", run)
        self.hosts = [Host(number, run) for number in range(1, hosts + 1)]
        self.clients = [Client(number, run) for number in range(1, clients + 1)]
        self._machines: dict[str, str] = {}

    @property
    def client(self) -> Client:
        """The first client."""
        return self.clients[0]

    @property
    def nodes(self) -> list[Node]:
        """Hosts and clients."""
        return [*self.hosts, *self.clients]

    def name_of(self, mac: str) -> str:
        """Return the name of the node with that MAC, or the MAC itself if it is nobody's."""
        named = {node.mac: node.name for node in self.nodes} | self._machines
        return named.get(mac, mac)

    def add_tap(self, name: str, mac: str) -> None:
        """Put a tap of that name at the switch, for a virtual machine with that MAC."""
        self._ip(
            self.switch,
            f"tuntap add dev {name} mode tap",
            f"link set {name} master br0 up",
        )
        self._machines[mac] = name

    def build(self) -> None:
        """Make the namespaces and connect them."""
        command = self.directory / "bin" / "clusterip"
        command.parent.mkdir()
        # A link, for nothing in /run itself may be run where Debian's initramfs has mounted it.
        command.symlink_to(Path(sys.executable).with_name("clusterip"))
        for namespace in (self.switch, *self.nodes):
            _run("ip", "netns", "add", namespace.full_name)
            namespace.call(_quieten)
        self._connect()
        for node in self.nodes:
            self._ip(
                node,
                "link set lo up",
                "link set eth0 up",
                *(f"address add {address}/16 dev eth0" for address in node.addresses),
            )

    def _connect(self) -> None:
        """Give each node its `eth0`."""
        # Multicast snooping would only delay what a switch floods anyway (RFC 4541: 224.0.0.x).
        self._ip(self.switch, "link add br0 type bridge mcast_snooping 0", "link set br0 up")
        for node in self.nodes:
            self._ip(
                self.switch,
                f"link add {node.name} type veth"
                f" peer name eth0 address {node.mac} netns {node.full_name}",
                f"link set {node.name} master br0 up",
            )

    def on_hosts(self, function: Callable[[Host], object]) -> None:
        """Call the function for each host, for all at once."""
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            list(pool.map(function, self.hosts))

    def stop_all(self) -> None:
        """Stop what was started in any namespace."""
        for namespace in (self.switch, *self.nodes):
            namespace.stop_all()

    def _ip(self, namespace: Namespace, *lines: str) -> None:
        batch = self.directory / f"{namespace.name}.ip"
        batch.write_text("\n".join(lines) + "\n")
        namespace.run("ip", "-batch", str(batch))


class Pair(Lab):
    """One host and one client, joined by a cable: what is measured is the host and no switch."""

    def __init__(self, run: Path) -> None:
        super().__init__(run, hosts=1, clients=1)

    @property
    def host(self) -> Host:
        """The host."""
        return self.hosts[0]

    def _connect(self) -> None:
        there = f"peer name eth0 address {self.host.mac} netns {self.host.full_name}"
        self._ip(self.client, f"link add eth0 address {self.client.mac} type veth {there}")


def lab(hosts: int = 3, clients: int = 1) -> contextlib.AbstractContextManager[Lab]:
    """Build a lab; on leaving, remove all of it. SIGTERM and SIGHUP raise as SIGINT does."""
    return _built(lambda run: Lab(run, hosts, clients))


def pair() -> contextlib.AbstractContextManager[Pair]:
    """Build a host and a client alone, as `lab` does."""
    return _built(Pair)


@contextlib.contextmanager
def _built(make: Callable[[Path], AnyLab]) -> Iterator[AnyLab]:
    with claimed_run() as run:
        made = make(run)
        try:
            with signals_held():  # a namespace half made would be overlooked
                made.build()
            yield made
        finally:
            made.stop_all()


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def _quieten() -> None:
    """Switch off what would add packets of its own, or hold answers back."""
    for setting, value in (
        ("ipv6/conf/all/disable_ipv6", "1"),
        ("ipv6/conf/default/disable_ipv6", "1"),
        ("ipv4/icmp_ratelimit", "0"),
    ):
        path = Path("/proc/sys/net") / setting
        if path.exists():
            path.write_text(value)
