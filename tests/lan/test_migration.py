"""A site moves from `-m cluster`, or from nft's jhash, to clusterip: one host after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.peers import NftJhash, XtCluster
from tests.lan.cluster import Sharing, append, ask

if TYPE_CHECKING:
    from lab.topology import Lab

SEED = 0xDEADBEEF


@pytest.mark.parametrize(("peer", "mode"), [(XtCluster, "xt-cluster"), (NftJhash, "nft-jhash")])
def test_each_request_has_one_answer_on_the_way(
    lan: Lab, peer: type[XtCluster | NftJhash], mode: str
) -> None:
    sharing = Sharing(mode, hash_init=SEED)
    peer().share(lan)
    for host in lan.hosts[:2]:
        # Ours first: while both are there, a host answers what both let through.
        append(host, *sharing.new(host.number))
        host.run("nft", "flush", "ruleset")
    # Two hosts have moved, one has not.
    answers = ask(lan, sharing.vip, 32)
    assert len(answers) >= 90
    assert answers == sharing.predicted(answers)
