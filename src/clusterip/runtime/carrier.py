"""What is wrong with an interface that carries nothing, or has another name, and its cure."""

from __future__ import annotations

from clusterip.core.findings import Code, Finding


def findings(name: str, *, up: bool, running: bool) -> tuple[Finding, ...]:
    """Return what is wrong with an interface that is not `up`, or not `running`: no carrier."""
    if not up:
        return (
            Finding.of(
                Code.INTERFACE_DOWN,
                f"{name} is down",
                "this host serves nothing through it until it is up",
                cure=f"ip link set {name} up",
            ),
        )
    if not running:
        return (
            Finding.of(
                Code.NO_CARRIER,
                f"{name} has no carrier",
                "this host serves nothing through it until it has one",
                cure="look at its cable, at the port of the switch, and at the interface beneath it"
                f" where it is a virtual one: ip link show {name}",
            ),
        )
    return ()


def renamed(was: str, name: str) -> Finding:
    """Return what is wrong with an interface that is called `name` now."""
    return Finding.of(
        Code.RENAMED,
        f"{was} is called {name} now",
        "a daemon that starts would not find it",
        cure=f"give it its name back (ip link set {name} down, then name {was}, then up); or write"
        " the new name into the file, and start the daemon anew",
    )
