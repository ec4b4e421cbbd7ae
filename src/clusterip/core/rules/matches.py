"""The matches of a rule: `-m tcp`, udp, sctp, dccp and multiport, which all name ports."""

from __future__ import annotations

from typing import Final

from clusterip.core.errors import UsageError
from clusterip.core.model import ALL_PORTS, PORT_MATCH_PROTOCOLS, Match, Ports
from clusterip.core.rules.getopt import Found, Option, Takes
from clusterip.core.rules.protocols import NAMES, NUMBERS
from clusterip.core.rules.values import Services, port_list, port_range

MULTIPORT: Final = "multiport"

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
}
"""The options each match brings; a key of "" marks one that CLUSTERIP rules do not have."""

AUTOMATIC: Final = {NUMBERS[name]: name for name in OPTIONS if name != MULTIPORT}
"""The match that `-p` brings in when an option is unknown without it."""


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


def together(matches: list[PortMatch], base: Match) -> Match:
    """Return `base` with the port conditions of all its matches, in the order of a listing.

    The plain match comes before multiport. A plain match that restricts nothing is kept, as all
    destination ports, only where it stands alone: `-p tcp -m tcp` and `-p tcp` print differently.
    """
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
        every = [one.taken[key] for one in (*plain, *lists) if key in one.taken]
        return tuple(one for one in every if not unrestricted(one))

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
