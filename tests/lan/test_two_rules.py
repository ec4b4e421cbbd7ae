"""Two rules on one VIP; what neither covers is answered by nobody, and counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab import frames, traffic
from lab.capture import answering_hosts, capturing
from lab.topology import VIP
from tests.lan.cluster import Sharing, append, ask, share

if TYPE_CHECKING:
    from lab.topology import Lab

SHARING = Sharing("sourceip")
WEB = ("-p", "tcp", "--dport", "80")
UNCOVERED_PORT = 8080
ASKED = 32


def share_web_and_ping(lan: Lab) -> None:
    share(lan, SHARING, *WEB)
    lan.on_hosts(lambda host: append(host, *SHARING.join("-p", "icmp")))


def test_what_they_cover_is_answered_once_and_by_the_same_host(lan: Lab) -> None:
    share_web_and_ping(lan)
    answers = ask(lan, VIP, ASKED, patience=0.02)
    covered = {request for request in answers if request.protocol != frames.UDP}
    predicted = SHARING.predicted(covered)
    assert answers == {request: predicted.get(request, []) for request in answers}
    for address in lan.client.addresses:
        of_address = (request for request in covered if request.source == address)
        assert len({tuple(answers[request]) for request in of_address}) == 1


def test_what_they_do_not_cover_is_not_answered_and_counted(lan: Lab) -> None:
    share_web_and_ping(lan)
    traffic.ping(lan.client, VIP, 1)  # finds the MAC, so that no SYN waits for it
    flows = traffic.flows(lan.client, VIP, UNCOVERED_PORT, ASKED)
    with capturing(lan.client, "tcp") as capture:
        assert traffic.web_answers(lan.client, flows, timeout=0.02) == [""] * ASKED
    answers = answering_hosts(lan, capture, VIP)
    assert len(answers) == ASKED
    assert set(map(tuple, answers.values())) == {()}
    for host in lan.hosts:
        (interface,) = host.show()["interfaces"]
        # A SYN that is not answered is sent again, so there may be more than were asked.
        assert interface["verdicts"]["drop_no_rule"] >= ASKED
        assert [rule["packets"] for rule in interface["rules"]] == [0, 1]


def test_what_is_covered_is_counted_on_its_rule(lan: Lab) -> None:
    host = lan.hosts[0]
    append(host, *SHARING.new(host.number, *WEB))
    append(host, *SHARING.join("-p", "icmp"))
    host.add_address(VIP)
    traffic.ping_from_everywhere(lan.client, VIP, 2, wait=0.2)
    asked = 2 * len(lan.client.addresses)
    (interface,) = host.show()["interfaces"]
    web, ping = interface["rules"]
    assert (web["packets"], ping["packets"]) == (0, asked)
    own = sum(SHARING.bucket_of(address) == host.number for address in lan.client.addresses)
    assert ping["verdicts"]["accept_owned"] == 2 * own
    assert ping["verdicts"]["drop_not_owned"] == asked - 2 * own
    listed = host.clusterip("iptables", "-L", "-v", "-n", "-x").stdout.splitlines()
    assert [line.split()[0] for line in listed[2:]] == ["0", str(asked)]


def test_the_rule_that_founded_it_can_go_first(lan: Lab) -> None:
    share_web_and_ping(lan)
    lan.on_hosts(lambda host: host.clusterip("iptables", "-D", *SHARING.new(host.number, *WEB)))
    answers = ask(lan, VIP, ASKED, patience=0.02)
    covered = {request for request in answers if request.protocol == frames.ICMP}
    predicted = SHARING.predicted(covered)
    assert answers == {request: predicted.get(request, []) for request in answers}
