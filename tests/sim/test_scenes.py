"""Each rule that random stories do not put to the test has a story that is made for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from clusterip.core.lease.handover import HandOver
from clusterip.core.lease.node import Node
from tests.sim.coordinators import PEERS, Make, peers
from tests.sim.mutants import knowing, pairs, promises, serving
from tests.sim.mutants.kind import Mutant
from tests.sim.mutants.restarting import Forgotten, forgets
from tests.sim.rule import TwoOwnersError
from tests.sim.scene import LostError
from tests.sim.scenes import changing, moving, restarting
from tests.sim.scenes import pairs as two

if TYPE_CHECKING:
    from collections.abc import Callable

    Told = Callable[[Make], None]

TOLD: list[tuple[Mutant, Told]] = [
    (serving.DRAINS_ON, moving.who_drains_is_cut_off_for_a_while),
    (serving.LATEST_LEASE, moving.pauses_while_leases_end_at_different_times),
    (serving.SAYS_FIRST, moving.pauses_when_it_has_said_so),
    (serving.PLANS_AT_ONCE, moving.comes_back_while_a_bucket_moves),
    (serving.GRACE_UNKNOWN, moving.who_took_does_not_hear_of_the_restart),
    (promises.UNASKED, moving.hears_late_grants_before_it_asks),
    (knowing.FORGETS_BINDINGS, moving.who_drains_is_cut_off_while_a_voter_restarts),
    (serving.BINDS_UNKNOWN, moving.who_took_does_not_hear_that_a_voter_restarts),
    (promises.ANY_INCARNATION, moving.dies_with_promises_for_a_restart),
    (knowing.FORGETS_FORMER, moving.who_drains_is_removed),
    (knowing.NOT_ASKED_FOR, moving.asks_when_last_heard),
    (knowing.TOLD_IN_RESTART, moving.who_took_restarts_and_the_voter_dies),
    (knowing.ONE_GRACE, moving.who_drains_says_its_grace_again_and_has_no_successor),
    (knowing.KNOWS_NO_STRANGER, changing.who_drains_has_just_been_added),
    (knowing.KNOWS_NO_STRANGER, changing.who_took_has_just_been_added),
    (knowing.KNOWS_NO_STRANGER, changing.who_took_never_knew_the_giver),
    (knowing.FORGETS_TOLD, changing.who_took_forgets_the_giver_first),
    (knowing.TOLD_IN_RESTART, changing.who_tells_of_the_giver_restarts),
    (knowing.NAMES_NOBODY_REMOVED, changing.who_took_restarts_as_all_forget_the_giver),
    (knowing.NAMES_NOBODY_REMOVED, changing.who_took_is_told_when_all_have_forgotten),
    (pairs.ONLY_PROVEN_GRACES, two.one_that_hears_nothing_restarts),
    (pairs.EXCUSED_HEARS, two.one_that_went_deaf_begins_a_restart),
    (pairs.LONE_WITHOUT_END, two.who_goes_on_beside_one_that_begins_stalls),
    (pairs.AGE_UNBOUND, two.who_goes_on_beside_one_that_is_deaf_stalls),
    (pairs.UNREAD_IS_SILENT, two.two_that_do_not_read_one_another),
    (pairs.KNOWN_UNREAD_IS_SILENT, two.one_is_replaced_by_one_that_cannot_be_read),
    (pairs.UNREAD_IS_NOT_ECHOED, two.those_who_have_one_in_common_begin),
    (pairs.UNREAD_IS_NOT_ECHOED, two.recordings_of_what_one_was_are_sent_again),
    (pairs.CLAIMS_LEAD, two.recordings_of_one_that_was_older_are_sent),
]
KINDS: dict[Mutant, type[AssertionError]] = {
    serving.PLANS_AT_ONCE: LostError,
    pairs.UNREAD_IS_NOT_ECHOED: LostError,
    pairs.CLAIMS_LEAD: LostError,
}
"""What is found; TwoOwnersError where it is not said."""

FORGOTTEN: list[tuple[Forgotten, Told]] = [
    (("incarnation", ""), restarting.the_owner),
    (("sequence", ""), restarting.the_owner),
    (("voters", ""), restarting.with_another_file),
    (("before", ""), restarting.the_first_with_a_new_voter),
    (("owned", ""), restarting.the_owner),
    (("taking", ""), restarting.who_takes),
    (("draining", ""), restarting.who_drains),
    (("deadline", ""), restarting.the_survivor_of_two),
    (("advertised", ""), restarting.who_asks_and_may_have_it_from_one_voter),
    (("since", ""), restarting.the_owner),
    (("proofs", ""), restarting.the_owner),
    (("proofs", "until"), restarting.the_owner),
    (("proofs", "buckets"), restarting.the_owner),
    (("promises", ""), restarting.the_voter_of_two_that_are_parted),
    (("promises", "incarnation"), restarting.the_voter_of_two_that_are_parted),
    (("promises", "buckets"), restarting.the_voter_of_two_that_are_parted),
    (("promises", "until"), restarting.the_voter_of_two_that_are_parted),
    (("peers", ""), restarting.the_other_of_two_dies_meanwhile),
    (("peers", "incarnation"), restarting.the_other_of_two_dies_meanwhile),
    (("peers", "sequence"), restarting.the_voter_hears_what_was_said_before),
    (("peers", "sequence"), restarting.the_other_of_two_dies_meanwhile),
    (("peers", "excused_until"), restarting.who_took_after_the_giver),
    (("mute_until", ""), restarting.a_voter_that_may_not_vote_yet),
    (("leaving", ""), restarting.who_drained_for_good),
    (("incumbent", ""), restarting.the_other_of_two_comes_back_with_another_configuration),
    (("flows", ""), restarting.who_keeps_flows),
    (("contact", ""), restarting.who_drains),
    (("leads", ""), restarting.while_messages_are_late),
    (("leads", "incarnation"), restarting.while_messages_are_late),
    (("leads", "newest"), restarting.then_its_machine_stands_still),
    (("leads", "before"), restarting.then_its_machine_stands_still),
    (("leads", "before"), restarting.while_messages_are_late),
    (("leads", "since"), restarting.while_messages_are_late),
    (("farewells", ""), restarting.after_the_other_of_two_stopped),
    (("lent_until", ""), restarting.who_took_while_the_giver_is_cut_off),
    (("bound", ""), restarting.who_drains_and_the_other_at_once),
    (("lone", ""), restarting.who_serves_alone_beside_one_that_may_not_vote),
]
STORIES = list(dict.fromkeys(story for _, story in [*TOLD, *FORGOTTEN]))
IDENTITY = {"version", "node", "config"}
"""Fields that are compared before there is a node: tests/runtime/test_startup.py."""


@pytest.mark.parametrize(
    ("mutant", "story"), TOLD, ids=lambda one: getattr(one, "__name__", str(one))
)
def test_a_story_finds(mutant: Mutant, story: Told) -> None:
    with pytest.raises(KINDS.get(mutant, TwoOwnersError)):
        story(mutant.make())


@pytest.mark.parametrize(("what", "story"), FORGOTTEN)
def test_a_story_finds_what_a_successor_does_not_know(what: Forgotten, story: Told) -> None:
    with pytest.raises((TwoOwnersError, LostError)):
        story(forgets(*what))


@pytest.mark.parametrize("story", STORIES, ids=lambda one: one.__name__)
def test_and_ends_well(story: Told) -> None:
    story(PEERS)


def test_all_that_is_handed_over_is_taken_away_once() -> None:
    handed: list[HandOver] = []

    class Recorded(Node):
        def hand_over(self) -> bytes:
            raw = super().hand_over()
            handed.append(HandOver.decode(raw))
            return raw

    restarting.who_keeps_flows(peers(Recorded))
    fields = {one.name for one in msgspec.structs.fields(HandOver)} - IDENTITY
    parts = {(field, "") for field in fields}
    for field in fields:
        value = getattr(handed[0], field)
        for entry in value if isinstance(value, list) else []:
            if isinstance(entry, msgspec.Struct):
                # The first is the key.
                parts |= {(field, one.name) for one in msgspec.structs.fields(type(entry))[1:]}
    assert {what for what, _ in FORGOTTEN} == parts
