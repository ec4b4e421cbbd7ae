"""What may be asked of a daemon through its control socket, and who answers it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from clusterip.core.config import Config
from clusterip.core.errors import RefusedError
from clusterip.core.messages.command import Verb
from clusterip.core.messages.message import digest_of_name
from clusterip.runtime.member import Member


@dataclass(frozen=True)
class Requests:
    """Answers requests, each a verb with its arguments, to node `name`.

    `config` gives the configuration in force, `after` does some work and what follows from it.
    """

    name: str
    member: Member
    config: Callable[[], Config]
    after: Callable[[Callable[[], object]], None]
    show: Callable[[], dict[str, Any]]
    reload: Callable[[], list[str]]
    restart: Callable[[], None]

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked; RefusedError, and nothing done, if it cannot be."""
        verb = str(request.get("verb"))
        if verb == "show":
            return self.show()
        if verb == "reload":
            return {"changes": self.reload()}
        if verb == "restart":
            self.restart()
            return {}
        if verb.upper() not in Verb.__members__:
            raise RefusedError(f"this daemon does not know {verb!a}", "`clusterip restart` it")
        self._steer(Verb[verb.upper()], request.get("node") or self.name, request.get("value", 0))
        return {}

    def _steer(self, verb: Verb, name: str, value: int) -> None:
        config = self.config()
        target = config.node(name)
        if target is None:
            there = ", ".join(node.name for node in config.nodes)
            raise RefusedError(f"there is no node {name}", f"the cluster has {there}")
        if target.witness:
            raise RefusedError(f"{name} is a witness: it holds nothing", "name another node")
        if self.member.node.term:
            raise RefusedError("the daemon is being restarted", "try again in a few seconds")
        if target.name != self.name:
            self.member.ask(digest_of_name(target.name), verb, value)
        else:
            self.after(lambda: self.member.do(verb, value))
