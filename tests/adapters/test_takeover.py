"""Programs of another layout take over what is pinned, and back: nothing is lost on the way."""

from __future__ import annotations

import random
import struct
import threading
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

import msgspec
import pytest

from clusterip.adapters import abi, libbpf, libbpf_maps, pins
from clusterip.adapters.abi import BucketState, Reason
from clusterip.adapters.bpfobject import object_content
from clusterip.adapters.clock import boottime
from clusterip.adapters.hooks import KernelHooks
from clusterip.adapters.kernel_maps import KernelMaps, OtherVersionError
from clusterip.adapters.links import Link
from clusterip.adapters.pinned_maps import PinnedMaps
from clusterip.adapters.takeover import NoRoomError
from clusterip.core import limits
from clusterip.core.messages.wire import clock_key
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Match, Rule, Sharing
from clusterip.core.packets.state import Chain, InterfaceState, Taken, XdpMode, encode
from clusterip.core.rules import chain as chains
from tests.bpf.test_beat import CLUSTER, INCARNATION, MINUTE, SECRET, SENDER, beat, carried
from tests.bpf.test_beat import KEY as KEY_ID
from tests.layouts import NEWER, Running, newer
from tests.namespaces import send, tc

pytestmark = pytest.mark.root("BPF and network namespaces")

VIP = IPv4Address("10.9.0.100")
RULE = Rule(VIP, "eth0", Match(1), Sharing(HashMode.SOURCEIP, Mac("01005e000020"), 1), 1)
STATE = chains.append(Chain(), RULE, 2).interfaces[0]
PING = bytes.fromhex("01005e000020 020000000001 0800") + struct.pack(
    ">BBHHHBBH4s4sBBHHH",
    *(0x45, 0, 28, 1, 0, 64, 1, 0, bytes([10, 9, 0, 7]), VIP.packed),
    *(8, 0, 0, 1, 1),
)
KEPT, CHANGED, GONE, COME = (bytes([number]) * 40 for number in range(1, 5))
THEIRS, OURS = (number.to_bytes(4, "little") for number in (1, 3))
OWNED, WATCHING = BucketState.OWNED, BucketState.WATCHING
DEADLINE = 1 << 62
TAKEN_OVER = "pinned.renew(2) and (pinned.level(2), pinned.settle(2))"
OBJECT = Path(libbpf.__file__).with_name("clusterip.bpf.o")
NODE, KEY = (9).to_bytes(8, "little"), bytes(range(16))


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return newer(tmp_path_factory.mktemp("newer"))


@pytest.fixture
def program(another: Path, folder: Path) -> Iterator[Running]:
    """The newer version, in the namespace of the test."""
    del folder
    running = Running(another)
    running.do(
        "from clusterip.adapters import bpffs, pinned_maps as module, libbpf, libbpf_maps, pins"
    )
    running.do("pinned = module.PinnedMaps(bpffs.namespace_folder())")
    yield running
    running.end()


@pytest.fixture
def pinned(folder: Path) -> PinnedMaps:
    pinned = PinnedMaps(folder)
    pinned.create(STATE)
    with pinned.open(2) as maps:
        maps.set_bucket(0, 1, OWNED)
        maps.set_bucket(5, 256, WATCHING)
        maps.set_flow_slots(5, 256, 1 << 63)
        maps.set_deadline(0, DEADLINE)
        maps.set_deadline(5, DEADLINE)
        maps.follow(0, 9, 8, 7, 6)
        maps.trust({255: KEY})
    return pinned


def take_over(pinned: PinnedMaps) -> None:
    assert pinned.renew(2)
    pinned.level(2)
    pinned.settle(2)


def received(folder: Path) -> Callable[[], int]:
    """Return a function that has the program pinned now see a ping, whatever is pinned later."""
    fd = libbpf.call("bpf_obj_get", str(folder / "2" / "ingress").encode())
    return lambda: libbpf.run_program(fd, PING)[0]


def everything(pinned: PinnedMaps) -> tuple[object, ...]:
    with pinned.open(2) as maps:
        return (
            maps.rules(),
            [(maps.bucket_states(at), maps.deadline(at)) for at in range(limits.GROUPS)],
            [maps.flow_slots(5, bucket) for bucket in range(1, 257)],
            [maps.count(slot) for slot in range(limits.RULES)],
            [maps.traffic(at) for at in range(limits.GROUPS)],
        )


def test_taken_over_and_back(pinned: PinnedMaps, folder: Path, program: Running) -> None:
    ping = received(folder)
    for _ in range(5):
        ping()
    with pins.maps(folder / "2") as descriptors:
        libbpf_maps.put(descriptors["own_openings"], KEPT, OURS)
        libbpf_maps.put(descriptors["openings"], CHANGED, OURS)
        ids = {name: libbpf.map_info(fd).id for name, fd in descriptors.items()}
    before = everything(pinned)
    program.do(TAKEN_OVER)
    assert not pinned.lags(2)
    assert not pinned.fits(2)
    assert (folder / "2" / "more").exists()
    pinned.try_renewing(2)
    with pins.maps(folder / "2") as descriptors:
        same = {name for name, fd in descriptors.items() if libbpf.map_info(fd).id == ids[name]}
        assert same == {"keys", "fragments", "own_openings"}
        assert libbpf.map_info(descriptors["openings"]).max_entries == 32768
        assert libbpf_maps.entries(descriptors["openings"]) == {CHANGED: OURS}
        peer = libbpf_maps.entries(descriptors["peers"])[NODE]
        assert peer == bytes(abi.Peer(incarnation=8, ahead=7, slack=6)) + bytes(24)
    # What is newer is read here, too, and nothing is made up in place of what older ones lack.
    assert everything(pinned) == before
    assert eval(program.do("with pinned.open(2) as p: print(p.count(1).bytes)")) == 5 * len(PING)
    received(folder)()
    take_over(pinned)
    assert pinned.fits(2)
    with pinned.open(2) as maps:
        assert maps.count(1).packets[Reason.ACCEPT_OWNED] == 6
        assert maps.traffic(0)[0] == (6, 6 * len(PING))
        assert (maps.rules(), maps.bucket_states(0)[0], maps.deadline(0)) == (
            STATE,
            OWNED,
            DEADLINE,
        )
        assert (maps.bucket_states(5)[255], maps.flow_slots(5, 256)) == (WATCHING, 1 << 63)
    with pins.maps(folder / "2") as descriptors:
        assert libbpf_maps.entries(descriptors["openings"]) == {CHANGED: OURS}
        assert libbpf_maps.entries(descriptors["peers"]) == {NODE: bytes(abi.Peer(8, 7, 6))}
    assert {one.name for one in folder.iterdir()} == {"2"}
    assert not (folder / "2" / "more").exists()
    # As the newer one is asked whether this one could go on.
    program.do(TAKEN_OVER)
    program.do(f"from pathlib import Path; older = Path({str(OBJECT)!r}).read_bytes()")
    program.do("with pins.taking_over(Path(pinned._folder / '2'), older): pass")


def test_what_comes_between_is_brought_after(
    pinned: PinnedMaps, folder: Path, program: Running
) -> None:
    ping = received(folder)
    with pins.maps(folder / "2") as old, pinned.open(2) as maps:
        for key in (KEPT, CHANGED, GONE):
            libbpf_maps.put(old["openings"], key, OURS)
        ping()
        program.do("pinned.renew(2)")
        for _ in range(7):
            ping()
        maps.set_flow_slots(5, 256, 3)
        maps.set_deadline(5, 0)  # as by a message that shows the standstill of our clock
        for key, value in ((CHANGED, THEIRS), (GONE, None), (COME, THEIRS)):
            libbpf_maps.put(old["openings"], key, value)
        assert pinned.lags(2)
        program.do("pinned.level(2)")
        with pinned.open(2) as now:
            assert (now.deadline(0), now.deadline(5)) == (DEADLINE, 0)
        # It may have answered nobody since it was taken over, and counts what it sees.
        later = received(folder)
        for _ in range(3):
            later()
        ping()
        program.do("pinned.settle(2)")
    with pinned.open(2) as now:
        assert now.count(1).packets[Reason.ACCEPT_OWNED] == 12
        assert now.count(1).bytes == 12 * len(PING)
        assert now.traffic(0)[0] == (12, 12 * len(PING))
        assert now.flow_slots(5, 256) == 1 << 63 | 3
    with pins.maps(folder / "2") as descriptors:
        noted = libbpf_maps.entries(descriptors["openings"])
    assert noted == {KEPT: OURS, CHANGED: THEIRS, COME: THEIRS}


def test_who_listens_closes_the_new_groups_too(
    pinned: PinnedMaps, folder: Path, program: Running, eth0: Link
) -> None:
    """While the old program decides, a message that shows the lease to be over closes both."""
    hooks, until = KernelHooks(), boottime() + MINUTE
    with pinned.open(2) as maps:
        maps.set_deadline(0, until)
        maps.follow(0, SENDER, INCARNATION, 0, 2 * MINUTE)
        maps.trust({KEY_ID: clock_key(SECRET, CLUSTER)})
    with pinned.programs(2) as programs:
        hooks.attach(eth0, programs, XdpMode.AUTO)
        before = hooks.attached(eth0, programs)
    program.do("pinned.renew(2)")
    with pinned.programs(2) as programs:
        hooks.heed(eth0, programs)
    with pinned.open(2) as new, pinned.programs(2) as programs:
        assert not hooks.attached(eth0, programs).tc
        send(carried(beat(boottime())))
        assert new.deadline(0) == until
        send(carried(beat(until)))
        assert new.deadline(0) == 0
        with pins.maps(folder / "other-2") as old:
            assert KernelMaps(old).deadline(0) == 0
        hooks.attach(eth0, programs, XdpMode.AUTO)
        assert hooks.attached(eth0, programs) == before
        for _ in range(2):
            hooks.unheed(eth0)
        assert tc("filter show dev eth0 ingress").count("handle 0x") == 1


def test_what_is_counted_meanwhile_stays(
    pinned: PinnedMaps, folder: Path, program: Running
) -> None:
    """While counters are brought after, the new program counts on all processors."""
    ping = received(folder)
    program.do("pinned.renew(2)")
    for _ in range(1000):
        ping()
    count, fd = 200_000, libbpf.call("bpf_obj_get", str(folder / "2" / "ingress").encode())
    threads = [
        threading.Thread(target=libbpf.time_program, args=(fd, PING, count)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    program.do("pinned.settle(2)")
    for thread in threads:
        thread.join()
    with pinned.open(2) as now:
        assert now.count(1).packets[Reason.ACCEPT_OWNED] == 1000 + 3 * count


def test_a_layout_that_continues_none_is_refused(
    pinned: PinnedMaps, folder: Path, tmp_path: Path
) -> None:
    source = newer(tmp_path, lowest=NEWER)
    content = (source / "clusterip" / "adapters" / "clusterip.bpf.o").read_bytes()
    before = sorted(folder.rglob("*"))
    with pytest.raises(OtherVersionError), pins.taking_over(folder / "2", content):
        pass
    running = Running(source)
    running.do("from clusterip.adapters import bpffs, pinned_maps as module, kernel_maps")
    running.do("pinned = module.PinnedMaps(bpffs.namespace_folder())")
    tried = "try: pinned.renew(2)\nexcept kernel_maps.OtherVersionError: print('refused')"
    assert running.do(f"exec({tried!r})") == "refused\n"
    running.end()
    assert sorted(folder.rglob("*")) == before


def test_of_a_related_layout_the_record_alone_is_changed(
    pinned: PinnedMaps, program: Running
) -> None:
    """As where an interface leaves a qdisc to another one, whose daemon is of another version."""
    program.do(TAKEN_OVER)
    with pinned.open(2) as maps:
        heir = msgspec.structs.replace(STATE, taken=Taken(clsact=True))
        maps.commit(heir)
        assert maps.rules() == heir
        with pytest.raises(OtherVersionError):
            maps.commit(chains.append(Chain((STATE,)), more(), 2).interfaces[0])
        assert maps.rules() == heir
        with pytest.raises(OtherVersionError):
            maps.commit(msgspec.structs.replace(STATE, xdp_note=incompressible(limits.DOCUMENT)))
    assert program.do("with pinned.open(2) as p: print(p.rules().taken.clsact)") == "True\n"
    assert program.do("print(pinned.fits(2))") == "True\n"


def more() -> Rule:
    return msgspec.structs.replace(RULE, match=Match(6))


def incompressible(size: int) -> str:
    return random.Random(1).randbytes(size).hex()


def theirs(program: Running, state: InterfaceState) -> None:
    """Have rules be in force in the newer version's maps."""
    document = encode(state)
    program.do(f"from clusterip.core.packets.state import decode; state = decode({document!r})")
    program.do("with pinned.open(2) as maps: maps.commit(state)")


def far(state: InterfaceState, slot: int) -> InterfaceState:
    (entry,) = state.entries
    return msgspec.structs.replace(state, entries=(msgspec.structs.replace(entry, slot=slot),))


def test_rules_in_places_that_the_older_lacks(
    pinned: PinnedMaps, folder: Path, program: Running
) -> None:
    """It makes do with maps as large as they need."""
    program.do(TAKEN_OVER)
    slot = limits.RULES + 70
    theirs(program, far(STATE, slot))
    ping = received(folder)
    ping()
    pinned.try_renewing(2)
    take_over(pinned)
    assert pinned.fits(2)
    received(folder)()
    with pinned.open(2) as maps:
        assert maps.count(slot).packets[Reason.ACCEPT_OWNED] == 2
    # And the newer one goes on with those.
    program.do(TAKEN_OVER)
    program.do(f"with pinned.open(2) as maps: slot = maps.count({slot})")
    assert program.do("print(sum(slot.packets.values()))") == "2\n"


def refused(pinned: PinnedMaps, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    with pytest.raises(NoRoomError, match="more than the installed release has room for"):
        pinned.renew(2)
    assert sorted(folder.rglob("*")) == before
    assert not pinned.lags(2)


def test_of_a_daemon_they_are_refused(pinned: PinnedMaps, folder: Path, program: Running) -> None:
    """Before a restart: its file has more than the successor reads."""
    program.do(TAKEN_OVER)
    theirs(program, msgspec.structs.replace(far(STATE, limits.RULES), cluster="web"))
    refused(pinned, folder)
    with pytest.raises(NoRoomError), pins.taking_over(folder / "2", object_content()):
        pass


def test_more_than_the_older_can_have(
    pinned: PinnedMaps, folder: Path, program: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of them are taken over in their place, in one step."""
    program.do(TAKEN_OVER)
    many = chains.append(Chain((STATE,)), more(), 2).interfaces[0]
    theirs(program, many)
    monkeypatch.setattr(limits, "SERVICES", 2)
    refused(pinned, folder)
    assert pinned.renew(2, STATE)
    pinned.level(2)
    pinned.settle(2)
    with pinned.open(2) as maps:
        assert maps.rules() == STATE
        assert (maps.bucket_states(0)[0], maps.deadline(0)) == (OWNED, DEADLINE)


def untouched(pinned: PinnedMaps, folder: Path) -> bool:
    """Tell whether a ping for the VIP goes past the program that is pinned, uncounted."""
    before = everything(pinned)
    received(folder)()
    return everything(pinned) == before


@pytest.mark.parametrize("back", [False, True])
def test_no_rules_can_be_said_to_every_layout(
    pinned: PinnedMaps, folder: Path, program: Running, back: bool
) -> None:
    none = msgspec.structs.replace(STATE, groups=(), entries=())
    program.do(TAKEN_OVER)
    if back:
        program.do("with pinned.open(2) as p: state = p.rules()")
        take_over(pinned)
        program.do("from clusterip.core.packets.state import InterfaceState")
        program.do("import msgspec; none = msgspec.structs.replace(state, groups=(), entries=())")
        program.do("with pinned.open(2) as maps: maps.commit(none)")
    else:
        assert not untouched(pinned, folder)
        with pinned.open(2) as maps:
            maps.commit(none)
            maps.commit(msgspec.structs.replace(none, taken=Taken(clsact=True)))
            assert maps.rules() == msgspec.structs.replace(none, taken=Taken(clsact=True))
    assert untouched(pinned, folder)
    # Whoever takes over finds none.
    if back:
        program.do(TAKEN_OVER)
    else:
        take_over(pinned)
    with pinned.open(2) as maps:
        assert maps.rules().entries == ()
    assert untouched(pinned, folder)


def test_what_an_older_one_began_is_closed_by_the_newer(
    pinned: PinnedMaps, folder: Path, program: Running
) -> None:
    """The entries of the maps to close are shorter than its own."""
    program.do(TAKEN_OVER)
    assert pinned.renew(2)
    with pins.maps(folder / "other-2") as old:
        KernelMaps(old).set_deadline(0, 0)  # as by a message
    program.do("pinned.level(2)")
    program.do("pinned.settle(2)")
    with pinned.open(2) as maps:
        assert [maps.deadline(at) for at in (0, 4, 5)] == [0, 0, DEADLINE]
        assert maps.bucket_states(0)[0] == OWNED
