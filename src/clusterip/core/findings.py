"""What is found wrong, or unwise: in a file, on this host, with the other nodes.

One kind of value, whoever finds it: commands print it, the log has it as a line, `--json` as an
object. Each has a code of the catalogue below, which stays as it is from release to release, for
programs that read it; the words are for people, and may change. docs/findings.md lists the codes.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any, Self

import msgspec


class Severity(enum.Enum):
    """How much it matters."""

    FAULT = "fault"
    """Something is wrong now, or a daemon would not start, or not be heard."""
    WARNING = "warning"
    """It works, and something else would be better."""


class Code(enum.StrEnum):
    """The catalogue: each code with the severity that it has of itself, and its meaning."""

    severity: Severity
    meaning: str

    def __new__(cls, value: str, severity: Severity, meaning: str) -> Self:
        """Make a member of what stands in its line."""
        one = str.__new__(cls, value)
        one._value_ = value
        one.severity = severity
        one.meaning = meaning
        return one

    # ---- this host, as a daemon needs it ----

    NO_NODE = "no-node", Severity.FAULT, "the file has no node for this host"
    CLOCK_ELSEWHERE = (
        "clock-elsewhere",
        Severity.FAULT,
        "this is a time namespace, whose clock is not the one by which the kernel ends leases",
    )
    LIBRARY_MISSING = "library-missing", Severity.FAULT, "libbpf or the BPF object is not there"
    CAPABILITY_MISSING = (
        "capability-missing",
        Severity.FAULT,
        "a daemon that is started like this lacks a capability",
    )
    KERNEL_REFUSES = "kernel-refuses", Severity.FAULT, "the kernel does not take the BPF programs"
    PORT_IN_USE = "port-in-use", Severity.FAULT, "the UDP port cannot be had"
    OTHER_VOTERS = (
        "other-voters",
        Severity.FAULT,
        "the voters are too far from those that this host last ran with",
    )
    NO_SPACE = "no-space", Severity.FAULT, "what a daemon keeps in /run cannot be written"
    CHECK_PROGRAM = (
        "check-program",
        Severity.FAULT,
        "the program of a check cannot be started, so this host would never serve",
    )
    SYSTEM_REFUSED = (
        "system-refused",
        Severity.FAULT,
        "the system refused what a daemon, or a look at this host, needs",
    )
    GROUP_MISSING = (
        "group-missing",
        Severity.FAULT,
        "the group that may read the status is not there, so only root may",
    )
    STATUS_NOT_TOLD = (
        "status-not-told",
        Severity.FAULT,
        "the status socket cannot be made or served: who is not root sees nothing",
    )
    KEY_FILE_OPEN = (
        "key-file-open",
        Severity.WARNING,
        "others than its owner may use the key file, or its owner is somebody else",
    )
    KEY_FILE_REPLACEABLE = (
        "key-file-replaceable",
        Severity.WARNING,
        "others may put another key file in the place of the one in use",
    )

    # ---- its interface and its filters ----

    INTERFACE_MISSING = "interface-missing", Severity.FAULT, "there is no interface of that name"
    INTERFACE_UNFIT = (
        "interface-unfit",
        Severity.FAULT,
        "a VIP cannot be shared on this kind of interface",
    )
    INTERFACE_TAKEN = (
        "interface-taken",
        Severity.FAULT,
        "rules, another daemon, a qdisc or a filter have the interface already",
    )
    INTERFACE_GONE = (
        "interface-gone",
        Severity.FAULT,
        "an interface on which something was shared was removed",
    )
    INTERFACE_DOWN = "interface-down", Severity.FAULT, "the interface is down"
    NO_CARRIER = "no-carrier", Severity.FAULT, "the interface has no carrier"
    RENAMED = "renamed", Severity.FAULT, "the interface has another name than when the daemon began"
    NOT_FILTERED = (
        "not-filtered",
        Severity.FAULT,
        "the filters are not attached, so this host answers what is for others",
    )
    NOT_IN_CONTROL = (
        "not-in-control",
        Severity.FAULT,
        "the filters cannot be kept on the interface, so nothing is served",
    )
    NOT_GUARDED = (
        "not-guarded",
        Severity.FAULT,
        "another interface may tell its own MAC for a VIP, and draw all clients here",
    )
    NOT_PINNED = (
        "not-pinned",
        Severity.FAULT,
        "what is shared cannot be pinned, so commands do not see it",
    )
    PINS_ELSEWHERE = (
        "pins-elsewhere",
        Severity.FAULT,
        "the daemon's pins are in a bpffs that is not to be seen from here",
    )

    # ---- its addresses ----

    VIP_ALREADY_THERE = (
        "vip-already-there",
        Severity.FAULT,
        "a VIP is an address of this host without the daemon",
    )
    VIP_IN_FILES = (
        "vip-in-files",
        Severity.WARNING,
        "a file of the system may put a VIP on an interface at boot",
    )
    VIP_OF_NETWORK = (
        "vip-of-network",
        Severity.FAULT,
        "a VIP is a network's own or broadcast address, at which no host can answer",
    )
    VIP_ELSEWHERE = (
        "vip-elsewhere",
        Severity.WARNING,
        "a VIP is in no network of the interface, as where it is mistyped",
    )
    VIP_NOT_HERE = (
        "vip-not-here",
        Severity.WARNING,
        "a VIP of rules is no address of this host, which answers nothing for it",
    )
    VIP_LEFT = (
        "vip-left",
        Severity.WARNING,
        "a VIP without rules is an address of this host still, which answers everything for it",
    )
    ONLY_VIPS = (
        "only-vips",
        Severity.WARNING,
        "this host has no IPv4 address of its own by which to reach it alone",
    )
    NO_SOURCE = "no-source", Severity.FAULT, "there is no address to send messages from but VIPs"
    ADDRESS_NOT_HERE = (
        "address-not-here",
        Severity.FAULT,
        "the address of this node in the file is none of this host",
    )
    ADDRESS_OF_ANOTHER = (
        "address-of-another",
        Severity.FAULT,
        "the address of another node in the file is this host's",
    )
    UNREACHABLE = "unreachable", Severity.WARNING, "nothing can be sent to the address of a node"

    # ---- the other nodes ----

    NO_MAJORITY = (
        "no-majority",
        Severity.FAULT,
        "this host is not in contact with a majority of the voters, and answers nothing",
    )
    SILENT = "silent", Severity.FAULT, "a node is not heard, or not any more"
    STOPPED = "stopped", Severity.FAULT, "a node is not heard, for it was stopped or drained"
    REFUSED = (
        "refused",
        Severity.FAULT,
        "a node is not heard, for what comes in its name is no message to this one",
    )
    STRAY_DATAGRAMS = (
        "stray-datagrams",
        Severity.FAULT,
        "datagrams come that are no messages, from who is no node or is heard all the same",
    )
    DEAF = "deaf", Severity.FAULT, "a node is heard, and does not hear this one, or hears nobody"
    HEARS_NOBODY = "hears-nobody", Severity.FAULT, "this node hears no other"
    NOT_REACHED = (
        "not-reached",
        Severity.FAULT,
        "a node is not reached at its address in the file, only by broadcast",
    )
    KEY_MISSING = (
        "key-missing",
        Severity.FAULT,
        "a key that is sent with is missing on a node, which does not hear who uses it",
    )
    STRANGER = (
        "stranger",
        Severity.FAULT,
        "a node that is not in the file here has a key of the cluster",
    )
    DOUBLE = "double", Severity.FAULT, "another host runs as this node"
    SECOND_DAEMON = "second-daemon", Severity.FAULT, "two daemons run as one other node"
    HEARD_IN_ITS_PLACE = (
        "heard-in-its-place",
        Severity.FAULT,
        "a node is not believed, for another daemon that ran as it was, and has ended",
    )
    OTHER_CONFIGURATION = (
        "other-configuration",
        Severity.FAULT,
        "a node has another configuration, and does not serve with this one",
    )
    TWO_OWNERS = (
        "two-owners",
        Severity.FAULT,
        "another node said that it holds buckets which are held here; or both of two hosts served",
    )

    # ---- the daemon of this host ----

    NO_ANSWER = "no-answer", Severity.FAULT, "a daemon does not run any more, or does not answer"
    UNHEALTHY = (
        "unhealthy",
        Severity.FAULT,
        "a health check of this host is bad, so it does not serve",
    )
    ALONE = "alone", Severity.FAULT, "this host serves without the other of two voters"
    VOTERS_NOT_IN_USE = (
        "voters-not-in-use",
        Severity.FAULT,
        "the voters of the file are not in use yet",
    )
    CONNECTIONS_CUT = (
        "connections-cut",
        Severity.WARNING,
        "connections were cut off at the end of drains",
    )
    STOOD_STILL = "stood-still", Severity.WARNING, "this machine was paused, saved or moved"
    STARVED = "starved", Severity.WARNING, "the daemon did not get the processor in time"

    # ---- the file ----

    NO_MAJORITY_OF_TWO = (
        "no-majority-of-two",
        Severity.WARNING,
        "of two voters none is a majority when the other is dead",
    )
    BOTH_ALONE = (
        "both-alone",
        Severity.WARNING,
        "two voters may each go on alone, and both answer where the network between them splits",
    )
    ALIVE_OF_MANY = (
        "alive-of-many",
        Severity.WARNING,
        'quorum = "alive" means nothing with more than two voters',
    )
    EVEN_VOTERS = (
        "even-voters",
        Severity.WARNING,
        "an even number of voters survives no more deaths than one voter fewer",
    )
    NO_WEIGHT = "no-weight", Severity.WARNING, "every weight is 0, so nobody serves"
    ONE_SERVER = "one-server", Severity.WARNING, "nobody takes over from the only node that serves"
    SMALL_SHARE = (
        "small-share",
        Severity.WARNING,
        "a share is so few buckets that the weights cannot be kept",
    )
    MAC_OF_OTHERS = "mac-of-others", Severity.WARNING, "another protocol uses the MAC of a VIP"
    MAC_SNOOPED = (
        "mac-snooped",
        Severity.WARNING,
        "switches that snoop may keep frames for the MAC of a VIP from hosts",
    )
    EMPTY_SERVICE = (
        "empty-service",
        Severity.WARNING,
        "a service is for a protocol that the VIP's version of IP does not carry",
    )
    FAST_ALONE = (
        "fast-alone",
        Severity.WARNING,
        "a short stall counts as a death, after which both of two voters answer",
    )
    FAST_OF_MANY = (
        "fast-of-many",
        Severity.WARNING,
        "many nodes in a fast profile hear very many messages",
    )
    LONG_DRAIN = "long-drain", Severity.WARNING, "one idle connection holds up a drain for long"
    LOOPBACK_ADDRESS = (
        "loopback-address",
        Severity.WARNING,
        "the address of a node cannot be reached from another host",
    )
    NO_CHECK = "no-check", Severity.WARNING, "a host whose server is down goes on answering"
    FILE_NOT_IN_USE = (
        "file-not-in-use",
        Severity.WARNING,
        "the daemon here goes by another configuration than the file",
    )


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong or unwise.

    `code` is that of the catalogue, as text, for a newer program may know more of them. `what` is
    so, in one sentence without full stop; `why` is what makes it so, or what it means, "" where
    `what` says it; `cure` is what to do about it.
    """

    severity: Severity
    code: str
    what: str
    why: str
    cure: str

    @classmethod
    def of(cls, code: Code, what: str, why: str = "", *, cure: str) -> Self:
        """Return one with the severity of its code."""
        return cls(code.severity, code.value, what, why, cure)

    def as_warning(self) -> Self:
        """Return it as it is where nothing is wrong with it: a daemon starts all the same, say."""
        return msgspec.structs.replace(self, severity=Severity.WARNING)

    @property
    def is_fault(self) -> bool:
        """Whether something is wrong now, or a daemon would not start."""
        return self.severity is Severity.FAULT

    @property
    def sentence(self) -> str:
        """What is so, and why: one line for people, below which the cure stands."""
        return f"{self.what}: {self.why}" if self.why else self.what

    @property
    def line(self) -> str:
        """All of it as one line, for the log; a question says what to do as it is."""
        if not self.cure or self.sentence.endswith("?"):
            return self.sentence
        return f"{self.sentence}{'; ' if self.why else ': '}{self.cure}"


def plain(some: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return them as JSON has them."""
    return [msgspec.to_builtins(one) for one in some]
