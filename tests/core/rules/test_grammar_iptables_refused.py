"""What iptables refuses is refused here, in the same words."""

from __future__ import annotations

import pytest

from tests.core.rules.iptables_peer import (
    HEAD,
    IPTABLES,
    NEW,
    namespace,
    outcome,
    run,
    spoken,
)

__all__ = ["namespace"]
REFUSED = [
    "-p bogus",
    "-p 256",
    "-p tcp -p udp",
    "-s 1.1.1.1 -s 2.2.2.2",
    "-i eth1",
    "! -p all",
    "--dport 80",
    "--dport 80 -p tcp",
    "-p udplite --dport 80 -p tcp",
    "-p tcp --dport 70000",
    "-p tcp --dport bogus",
    "-p tcp --dport 5,6",
    "-p tcp --dport 10:5",
    "-p tcp --dport ! 5",
    "-p tcp --dport 5 --dport 6",
    "-p tcp --dport",
    "-m comment",
    "-m comment --comment",
    "-m comment ! --comment x",
    "-m comment --comment x --comment y",
    "-m comment --comment x -m comment",
    "--comment x",
    "-p tcp -m multiport --dports 5 --dports 6",
    "-p tcp -m multiport --dports 5 --sport 6",
    "-p tcp -m multiport --ports 5 --sports 6",
    "-m multiport --dports 5",
    "-m multiport --dports 5 -p tcp",
    "-p icmp -m multiport --dports 5",
    "! -p tcp -m multiport --dports 5",
    "-p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16",
    "-p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15:16",
    "-p tcp -m multiport --dports 5:5",
    "-p tcp -m multiport --dports 5:3",
    "-p tcp -m multiport --dports :5",
    "-p tcp -m multiport --dports 5:",
    "-p tcp -m multiport --dports 5,,6",
    "-p tcp -m multiport --dports 70000",
    "-s 10.0.0.1/33",
    "-s 10.0.0.1/255.0",
    "-s 10.0.0.1/08",
    "-s 10.0.0.1/",
    "-s 1.2.3.4/8/8",
    "-s 1.2.3./24",
    "! -s 1.1.1.1,2.2.2.2",
    "! ! -p tcp",
    "! -m tcp",
    "-p tcp !",
    "foo",
    "-",
    "-- foo",
    "-q",
    "-vq",
    "--bogus",
    "-o eth0",
    "-n",
    "-x",
    "-c 1",
    "-c 1 x",
    "-c x 1",
    "-w x",
    "-W 5",
    "-w -W x",
    "-A INPUT",
    "-L",
    "! -L",
    "-j CLUSTERIP",
    "! -j CLUSTERIP",
    "-p",
]


@pytest.mark.parametrize("words", REFUSED)
def test_refused_in_the_same_words(namespace: str, words: str) -> None:
    done = run(namespace, IPTABLES, *f"{HEAD} -j ACCEPT {words}".split())
    assert done.returncode != 0
    assert outcome(f"{HEAD} -j CLUSTERIP {words}") == spoken(done.stderr, words)


@pytest.mark.parametrize(
    "words",
    [
        "-m tcp --dport 80",
        "-p udp -m tcp --dport 80",
        "! -p tcp --dport 80",
        "-p 200 -m multiport --ports 5",
        "-p tcp -m multiport",
        "-m state",
        "-m udplite",
        "-p tcp --p tcp",
        "--l",
        "--dest 1.1.1.1 -p tcp --dport 5 --dest 1.1.1.1",
    ],
)
def test_refused_in_other_words(namespace: str, words: str) -> None:
    assert run(namespace, IPTABLES, *f"{HEAD} -j ACCEPT {words}".split()).returncode != 0
    assert outcome(f"{HEAD} -j CLUSTERIP {words}")


@pytest.mark.parametrize(
    "line",
    [
        "-L -n -n",
        "-S -n",
        "-Z -n",
        "-L -p tcp",
        "-D INPUT 0",
        "-L INPUT x",
        "-D INPUT 1 -p tcp",
        "-Z -F",
        "-L -S",
        "-v",
        "-A",
        "-F INPUT 1",
        "-C INPUT -c 1 2 -d 1.1.1.1 -i eth0",
    ],
)
def test_commands_refused_in_the_same_words(namespace: str, line: str) -> None:
    done = run(namespace, IPTABLES, *line.split())
    assert done.returncode != 0
    assert outcome(line) == spoken(done.stderr)


@pytest.mark.parametrize(
    "words",
    [
        "--new",
        NEW.removeprefix("--new "),
        "--hash-init 5",
        "--new --hashmode sourceip",
        "--new --hashmode bogus",
        "--new --hashmode=bogus",
        "--new --hashm bogus",
        "--new --clustermac 00:11:22:33:44:55",
        "--hash-init abc",
        "--hash-init 4294967296",
        "--new --new",
        "--new --hashmode sourceip --hashmode sourceip",
        "--new=3",
        "! --new",
        "--hashmode",
        "--bogus",
    ],
)
def test_target_refuses_in_the_same_words(namespace: str, words: str) -> None:
    done = run(namespace, IPTABLES, *f"{HEAD} -j CLUSTERIP {words}".split())
    assert done.returncode == 2
    assert outcome(f"{HEAD} -j CLUSTERIP {words}") == spoken(done.stderr, words)


@pytest.mark.parametrize(
    ("words", "range_here"),
    [("--total-nodes 257", "1-256"), ("--total-nodes x", "1-256"), ("--local-node 257", "0-256")],
)
def test_target_refuses_a_range(namespace: str, words: str, range_here: str) -> None:
    done = run(namespace, IPTABLES, *f"{HEAD} -j CLUSTERIP {words}".split())
    theirs = spoken(done.stderr)
    assert "(0-16)" in theirs
    assert outcome(f"{HEAD} -j CLUSTERIP {words}") == theirs.replace("0-16", range_here)


@pytest.mark.parametrize(
    "words",
    [
        "",
        NEW,
        f"{NEW} --hash-init 0x10",
        NEW.replace("--total-nodes", "--to").replace("--hashmode", "--hashm"),
        NEW.replace("01:00:5e:00:00:20", "1:0:5E:0:0:20"),
        NEW.replace("--total-nodes 2", "--total-nodes 0x2"),
        f"{NEW} -p tcp --dport 5",
    ],
)
def test_target_takes_the_same(namespace: str, words: str) -> None:
    done = run(namespace, IPTABLES, *f"{HEAD} -j CLUSTERIP {words}".split())
    # The command line is right: it is the kernel that has no such target or no such device.
    assert done.returncode in {0, 1}
    assert outcome(f"{HEAD} -j CLUSTERIP {words}".strip()) == ""
