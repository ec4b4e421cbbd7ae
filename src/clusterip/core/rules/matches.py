"""The matches of a rule: `-m tcp`, udp, sctp, dccp and multiport, which name ports, and comment."""

from __future__ import annotations

from typing import Final

from clusterip.core.errors import UsageError
from clusterip.core.packets.model import ALL_PORTS, PORT_MATCH_PROTOCOLS, Comment, Match, Ports
from clusterip.core.rules.getopt import Found, Option, Takes
from clusterip.core.rules.protocols import NAMES, NUMBERS
from clusterip.core.rules.values import Services, port_list, port_range

MULTIPORT: Final = "multiport"
COMMENT: Final = "comment"
COMMENT_BYTES: Final = 255
"""What iptables keeps of a comment; it says nothing of what it cuts off (XT_MAX_COMMENT_LEN)."""

_PLAIN: Final = (
    Option("sport", ("source-port", "sport")),
    Option("dport", ("destination-port", "dport")),
)
# What else the real match has: known, so that it is refused by name and so that
# a shortened option is as ambiguous here as it is there.
_TCP_ONLY: Final = (
    Option("", ("tcp-flags",)),
    Option("", ("syn",), Takes.NOTHING),
    Option("", ("tcp-option",)),
)
_DCCP_ONLY: Final = (Option("", ("dccp-types",)), Option("", ("dccp-option",)))

INSTEAD: Final = {
    "state": "its connections stay with the host of their bucket without it",
    "conntrack": "its connections stay with the host of their bucket without it",
    "addrtype": "`-d VIP` says as much",
    "icmp": "`-p icmp` alone is for all of its types",
    "iprange": "write a rule for each network, with `-s NETWORK`",
}
"""Matches of rules for the old target: why a rule does without, or what it has instead."""

OPTIONS: Final[dict[str, tuple[Option, ...]]] = {
    "tcp": (*_PLAIN, *_TCP_ONLY),
    "udp": _PLAIN,
    "sctp": (*_PLAIN, Option("", ("chunk-types",))),
    "dccp": (*_PLAIN, *_DCCP_ONLY),
    MULTIPORT: (
        Option("sport", ("source-ports", "sports")),
        Option("dport", ("destination-ports", "dports")),
        Option("ports", ("ports",)),
    ),
    COMMENT: (Option("comment", ("comment",)),),
}
"""The options each match brings; a key of "" marks one that CLUSTERIP rules do not have."""

AUTOMATIC: Final = {NUMBERS[name]: name for name in OPTIONS if name not in {MULTIPORT, COMMENT}}
"""The match that `-p` brings in when an option is unknown without it."""


class CommentMatch:
    """One `-m comment` while its option is read."""

    module = COMMENT

    def __init__(self) -> None:
        self.text: bytes | None = None

    def take(
        self, found: Found, negated: bool, _protocol: tuple[int, bool], _services: Services
    ) -> None:
        """Read the option."""
        if negated:
            raise UsageError(
                f'{COMMENT}: option "--comment" cannot be inverted.', "leave out the `!`"
            )
        if self.text is not None:
            raise UsageError(
                f'{COMMENT}: option "--comment" can only be used once.',
                f"write `-m {COMMENT}` again before the second one",
            )
        if "\n" in found.text:
            # iptables-save would print what follows as a line of its own.
            raise UsageError("a comment is one line", "leave the line feed out")
        self.text = found.text.encode("utf-8", "surrogateescape")[:COMMENT_BYTES]


class PortMatch:
    """One `-m` while its options are read."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.taken: dict[str, Ports] = {}

    def take(
        self, found: Found, negated: bool, protocol: tuple[int, bool], services: Services
    ) -> None:
        """Read one option. `protocol` is that of `-p` so far and whether it was negated."""
        key = found.option.key
        if not key:
            raise UsageError(
                f"the {self.module} match's {found.spelled} is not supported",
                "a CLUSTERIP rule picks packets by protocol, source address and ports only",
            )
        if self.module == MULTIPORT:
            self._take_list(found, negated, protocol, services)
            return
        if key in self.taken:
            raise UsageError(
                f"Only one `--{found.option.names[0]}' allowed",
                f"use -m {MULTIPORT} to name several ports",
            )
        ports = port_range(found.text, self.module, services)
        self.taken[key] = Ports(self.module, (ports,), negated)

    def _take_list(
        self, found: Found, negated: bool, protocol: tuple[int, bool], services: Services
    ) -> None:
        name = f"--{found.option.names[0]}"
        if found.option.key in self.taken:
            raise UsageError(
                f'{MULTIPORT}: option "{name}" can only be used once.',
                "put all ports into one comma list",
            )
        if self.taken:
            used = next(
                f"--{option.names[0]}" for option in OPTIONS[MULTIPORT] if option.key in self.taken
            )
            raise UsageError(
                f'{MULTIPORT}: option "{name}" cannot be used together with "{used}".',
                f"write `-m {MULTIPORT}` again before {name}",
            )
        number, inverted = protocol
        if not number:
            raise UsageError(
                f"{MULTIPORT} needs `-p tcp', `-p udp', `-p udplite', `-p sctp' or `-p dccp'",
                f"put it before `-m {MULTIPORT}`",
            )
        if inverted or number not in PORT_MATCH_PROTOCOLS:
            raise UsageError(
                f"{MULTIPORT} only works with TCP, UDP, UDPLITE, SCTP and DCCP",
                "leave the ports out or name one of these protocols without a `!`",
            )
        ranges = port_list(found.text, NAMES[number], services)
        self.taken[found.option.key] = Ports(MULTIPORT, ranges, negated)


AnyMatch = PortMatch | CommentMatch


def bring(module: str) -> AnyMatch:
    """Return the match that `-m MODULE` begins; `module` is a key of OPTIONS."""
    return CommentMatch() if module == COMMENT else PortMatch(module)


def comments(matches: list[AnyMatch], match: Match) -> tuple[Comment, ...]:
    """Return the comments in their places among the port matches of `match` as it is listed."""
    plain = [[one for one in ports if one.module != MULTIPORT] for ports in match.ports()]
    listed = sum(map(len, match.ports())) - min(map(len, plain[:2]))
    found: list[Comment] = []
    before = 0
    for one in matches:
        if isinstance(one, PortMatch):
            before += 1
        elif one.text is None:
            raise UsageError(f'{COMMENT}: option "--comment" must be specified', "add --comment")
        else:
            found.append(Comment(one.text, min(before, listed)))
    return tuple(found)


def together(every: list[AnyMatch], base: Match) -> Match:
    """Return `base` with the port conditions of all its matches, in the order of a listing.

    The plain match comes before multiport. A plain match that restricts nothing is kept, as all
    destination ports, only where it stands alone: `-p tcp -m tcp` and `-p tcp` print differently.
    """
    matches = [one for one in every if isinstance(one, PortMatch)]
    for one in matches:
        if one.module == MULTIPORT:
            if not one.taken:
                raise UsageError(
                    f"{MULTIPORT} expects an option", "add --dports, --sports or --ports"
                )
        elif base.protocol != NUMBERS[one.module] or base.protocol_negated:
            raise UsageError(
                f"`-m {one.module}' needs `-p {one.module}'",
                f"add `-p {one.module}`, without a `!`, or leave the match out",
            )
    plain = [one for one in matches if one.module != MULTIPORT]
    lists = [one for one in matches if one.module == MULTIPORT]

    def ports(key: str) -> tuple[Ports, ...]:
        taken = [one.taken[key] for one in (*plain, *lists) if key in one.taken]
        return tuple(one for one in taken if not unrestricted(one))

    source, destination, either = ports("sport"), ports("dport"), ports("ports")
    if plain and not any(one.module != MULTIPORT for one in (*source, *destination)):
        destination = (Ports(plain[0].module, (ALL_PORTS,)), *destination)
    return Match(
        base.protocol,
        base.protocol_negated,
        base.source,
        base.source_negated,
        source,
        destination,
        either,
    )


def unrestricted(ports: Ports) -> bool:
    """Return whether this is a plain match's condition that every port satisfies."""
    return ports.module != MULTIPORT and not ports.negated and ports.ranges == (ALL_PORTS,)
