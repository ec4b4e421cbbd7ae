"""What members of a cluster said, and what they are about to do."""

from __future__ import annotations

from clusterip.core.messages.command import is_command
from clusterip.core.messages.message import digest_of_name
from tests.runtime.members import KEYS, Cluster, Host

SECRETS = KEYS.secrets()
WEB = digest_of_name("web")


def commands(sent: list[bytes]) -> list[bytes]:
    return [one for one in sent if is_command(one)]


def leaving(cluster: Cluster) -> list[str]:
    return [host.name for host in cluster.hosts if host.node.leaving]


def message_of(host: Host) -> bytes:
    """Return what the host said last."""
    return next(one for one in reversed(host.inbox.sent) if not is_command(one))
