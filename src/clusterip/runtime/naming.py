"""The names of nodes, which messages and the core know by id."""

from __future__ import annotations

from clusterip.core.config.model import Config
from clusterip.core.messages.message import digest_of_name


class Names:
    """Those of every configuration that was in force: who left the file is still spoken of."""

    def __init__(self, config: Config) -> None:
        self.known: dict[int, str] = {}
        self.learn(config)

    def learn(self, config: Config) -> None:
        """Add those of a configuration."""
        self.known |= {digest_of_name(node.name): node.name for node in config.nodes}

    def __call__(self, node: int) -> str:
        """Return the name of a node; its id in 16 hex digits where it has none."""
        return self.known.get(node, f"{node:016x}")
