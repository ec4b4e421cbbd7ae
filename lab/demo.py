"""The demonstration: `python -m lab.demo`, as root. Three hosts, one address, one answer.

Exits with 0 if every count came out as claimed, 1 if one did not, 2 if it could not begin.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from clusterip import bucket
from lab import frames, traffic
from lab.capture import answering_hosts, capturing
from lab.cleanup import Interrupted
from lab.demo_cluster import ClusterDemonstration
from lab.demo_watch import PROMISED, SLOWEST, Pace
from lab.servers import HTTP_PORT, nginx
from lab.stage import Stage
from lab.topology import CLUSTER_MAC, VIP, Host, Lab, lab
from lab.wait import PATIENCE

if TYPE_CHECKING:
    from lab.processes import Process

HASHMODE: Final = "sourceip-sourceport"
HASH_INIT: Final = 1234
TOTAL: Final = 3
TOOLS: Final = ("ip", "nsenter", "nginx", "tcpdump", "ping", "curl")

INTRODUCTION: Final = f"""\
Three web servers, h1 to h3, are to share one address, {VIP}, with no
load balancer in front of them. A client, c1, asks. All of it is made here,
in network namespaces, out of real parts: the kernel's own network stack, a
bridge as the switch, nginx, ping.

        c1                     the client
         |
   ======+=======+=======+===  a switch
         |       |       |
        h1      h2      h3     {VIP} is an address of each of them"""


class Demonstration:
    """What is done by hand, on a lab. `owners` says which host answers each bucket."""

    def __init__(self, lab: Lab, stage: Stage, pace: Pace = PROMISED) -> None:
        self.lab = lab
        self.stage = stage
        self.requests = pace.requests
        self.owners = {host.number: host.name for host in lab.hosts}
        self.state_files: list[Process] = []

    def problem(self) -> None:
        """Step 1: everybody answers."""
        stage, client = self.stage, self.lab.client
        stage.step("The problem: everybody answers")
        stage.say(
            "A switch brings a packet to every host if it is sent to a multicast MAC address. "
            "So let each host have the address, and the client send to such a MAC:"
        )
        for host in self.lab.hosts:
            stage.shell(host, f"ip address add {VIP}/32 dev eth0 scope host")
            stage.shell(host, f"ip maddress add {CLUSTER_MAC} dev eth0")
        stage.shell(client, f"ip neighbour replace {VIP} lladdr {CLUSTER_MAC} dev eth0")
        self._ping("shared by hand", answers_each=len(self.lab.hosts))
        stage.say(
            "Each request was answered by all three hosts, the last one too, though ping ends with "
            "the first answer to that. Ping shrugs it off (DUP!); a TCP connection does not "
            "survive it. We take it all back:"
        )
        for host in self.lab.hosts:
            stage.shell(host, f"ip maddress del {CLUSTER_MAC} dev eth0")
            stage.shell(host, f"ip address del {VIP}/32 dev eth0")
        stage.shell(client, f"ip neighbour del {VIP} dev eth0")

    def cure(self) -> None:
        """Step 2: one rule on each host."""
        stage, client = self.stage, self.lab.client
        stage.step("The cure: one rule on each host")
        stage.say(
            "Each host computes the same hash of the client's address and port, which falls into "
            f"one of {TOTAL} buckets, and answers only if that bucket is its own. This is the "
            "command administrators typed in 2010; the hosts differ in --local-node only. First"
            " the rule, then the address, which without a rule would draw all clients to one host:"
        )
        for host in self.lab.hosts:
            stage.shell(
                host,
                f"clusterip iptables -A INPUT -p tcp -d {VIP} -i eth0 --dport {HTTP_PORT}"
                f" -j CLUSTERIP --new --hashmode {HASHMODE} --clustermac {CLUSTER_MAC}"
                f" --total-nodes {TOTAL} --local-node {host.number} --hash-init {HASH_INIT}",
            )
            stage.shell(host, f"ip address add {VIP}/32 dev eth0 scope host")
        stage.say(
            "The client needs nothing. It asks for the address's MAC and is told the shared one:"
        )
        stage.shell(client, f"curl --silent --max-time 5 http://{VIP}/")
        stage.shell(client, f"ip neighbour show {VIP}")
        stage.check("the MAC that the client found", CLUSTER_MAC, client.neighbour(VIP))
        self._web_requests("before the move")

        stage.say(
            f"The rule is for TCP port {HTTP_PORT}. What no rule of the address covers is "
            "discarded on every host, and counted: better no answer than three."
        )
        self._ping("while no rule covers ping", answers_each=0)
        stage.say("A second rule, which joins the address, lets ping be answered, by one host:")
        for host in self.lab.hosts:
            stage.shell(host, f"clusterip iptables -A INPUT -p icmp -d {VIP} -i eth0 -j CLUSTERIP")
        self._ping("with a rule for ping", answers_each=1)

    def move(self) -> None:
        """Step 3: bucket 3 goes from host 3 to host 2, by hand."""
        stage = self.stage
        giver, taker = self.lab.hosts[2], self.lab.hosts[1]
        stage.step(f"A move by hand: bucket 3 goes from {giver.name} to {taker.name}")
        stage.say(
            "Say h3 needs a new disk. CLUSTERIP had a file for each address under /proc: the "
            "buckets this host answers. The files are here again, where you want them:"
        )
        for host in (giver, taker):
            self._mount_state_files(host)
        given, taken = (f"{host.name}/{VIP}" for host in (giver, taker))
        stage.shell(giver, f"cat {given}")
        stage.shell(taker, f"cat {taken}")
        stage.say("Written to, they change hands: first the one who gives, then the one who takes.")
        stage.shell(giver, f"echo -3 >> {given}")
        stage.shell(taker, f"echo +3 >> {taken}")
        left = stage.shell(giver, f"cat {given}").strip()
        right = stage.shell(taker, f"cat {taken}").strip()
        stage.check(
            "buckets of h3 and of h2, after the move",
            "none; 2,3",
            f"{left or 'none'}; {right}",
        )
        self.owners[3] = taker.name
        stage.say("The client's requests go on; h3 has nothing to do any more:")
        self._web_requests("after the move")
        stage.shell(taker, "clusterip show")

    def clear(self) -> None:
        """Take everything away, the addresses first: without rules every host would answer."""
        stage, client = self.stage, self.lab.client
        stage.say("That was by hand. Everything is taken away again, the addresses first:")
        for process in self.state_files:
            process.stop()
        for host in self.lab.hosts:
            stage.shell(host, f"ip address del {VIP}/32 dev eth0")
            stage.shell(host, "clusterip flush")
        stage.shell(client, f"ip neighbour del {VIP} dev eth0")

    def _ping(self, when: str, answers_each: int) -> None:
        """Ping three times and count the answers that arrive at the client's interface."""
        count = 3
        with capturing(self.lab.client, "icmp") as capture:
            self.stage.shell(self.lab.client, f"ping -c {count} -i 0.2 -W 1 {VIP}")
        answered = answering_hosts(self.lab, capture, VIP)
        self.stage.check(
            f"answers to {count} pings, {when}",
            count * answers_each,
            sum(len(hosts) for hosts in answered.values()),
        )

    def _web_requests(self, when: str) -> None:
        """Make the requests, each from a port of its own; compare with the hash, one by one."""
        client = self.lab.client
        flows = traffic.flows(client, VIP, HTTP_PORT, self.requests)
        buckets = [
            bucket(HASHMODE, TOTAL, HASH_INIT, flow.source, flow.source_port) for flow in flows
        ]
        predicted = [self.owners[number] for number in buckets]
        with capturing(client, f"tcp port {HTTP_PORT} and tcp[tcpflags] & tcp-syn != 0") as capture:
            told = self.stage.progress(
                f"{self.requests} requests",
                self.requests,
                lambda report: traffic.web_answers(client, flows, progress=report),
            )
        answered = Counter(told)
        expected = Counter(predicted)
        exact = sum(one == other for one, other in zip(predicted, told, strict=True))
        rows = [
            (
                host.name,
                ", ".join(str(b) for b, owner in self.owners.items() if owner == host.name) or "-",
                expected[host.name],
                answered[host.name],
            )
            for host in self.lab.hosts
        ]
        self.stage.table(
            f"{self.requests} web requests, each from another port of the client",
            ("host", "buckets", "the hash predicted", "answered"),
            [*rows, ("no answer", "", 0, answered[""])],
        )
        on_the_wire = answering_hosts(self.lab, capture, VIP)
        self._show_wire(on_the_wire)
        check = self.stage.check
        check(f"web requests answered as predicted, {when}", self.requests, exact)
        check(
            f"web requests with one SYN-ACK, {when}",
            self.requests,
            sum(len(hosts) == 1 for hosts in on_the_wire.values()),
        )

    def _show_wire(self, on_the_wire: dict[frames.Request, list[str]]) -> None:
        answers = sum(len(hosts) for hosts in on_the_wire.values())
        several = sum(len(hosts) > 1 for hosts in on_the_wire.values())
        self.stage.say(
            f"tcpdump at the client saw {len(on_the_wire)} connection requests (SYN) and {answers}"
            f" answers (SYN-ACK); {several} were answered more than once."
        )

    def _mount_state_files(self, host: Host) -> None:
        directory = self.lab.directory / host.name
        directory.mkdir()
        self.stage.started(host, f"clusterip statefiles --mount {host.name}")
        served = host.start("clusterip", "statefiles", "--mount", host.name)
        self.state_files.append(served)
        served.wait_output("serving", within=PATIENCE)


def main() -> int:
    """Run it all; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lab.demo", description=__doc__)
    parser.add_argument(
        "--slow",
        action="store_const",
        const=SLOWEST,
        default=PROMISED,
        dest="pace",
        help="the cluster by the profile for slow machines, and fewer clients",
    )
    pace = parser.parse_args().pace
    stage = Stage()
    hindrance = _hindrance()
    if hindrance:
        stage.tell(f"demo: {hindrance}", style="red")
        return 2
    begun = time.monotonic()
    stage.title("One address, three hosts, one answer", INTRODUCTION)
    try:
        with lab() as made:
            for host in made.hosts:
                nginx(host)
            show = Demonstration(made, stage, pace)
            show.problem()
            show.cure()
            show.move()
            show.clear()
            cluster = ClusterDemonstration(made, stage, pace)
            cluster.one_file()
            cluster.killed()
            cluster.unplugged()
            cluster.drained()
    except KeyboardInterrupt as interruption:
        stage.tell("\nInterrupted; everything that was made here has been removed.")
        return interruption.status if isinstance(interruption, Interrupted) else 130
    except (RuntimeError, OSError) as failure:
        stage.tell(f"demo: {failure}", style="red")
        return 1
    stage.step("What came out")
    right = stage.summary()
    seconds = time.monotonic() - begun
    outcome = "Every count is right" if right else "NOT every count is right"
    stage.tell(
        f"{outcome}. It took {seconds:.0f} s; everything that was made here has been removed.",
        style="bold green" if right else "bold red",
    )
    return 0 if right else 1


def _hindrance() -> str:
    """Return why the demonstration cannot run, and the cure; "" if it can."""
    if os.geteuid() != 0:
        return "network namespaces need root: run it with sudo"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        script = Path(__file__).resolve().parents[1] / "scripts" / "install"
        return f"missing programs: {', '.join(missing)}; install them with {script}"
    return ""


if __name__ == "__main__":
    sys.exit(main())
