"""Programs in the kernel that are not attached yet: ours, and those of others."""

from __future__ import annotations

from collections.abc import Callable

from clusterip.adapters import libbpf
from clusterip.adapters.bpfobject import object_content
from clusterip.adapters.hooks import Programs

Foreign = Callable[[str], int]
"""From the name of a program of somebody else to its descriptor."""


def loaded_programs() -> tuple[libbpf.Object, Programs]:
    loaded = libbpf.Object(object_content())
    names = ("ingress", "egress", "xdp", "guard_ingress", "guard_egress")
    return loaded, Programs(*(loaded.program_fd(f"clusterip_{name}") for name in names))
