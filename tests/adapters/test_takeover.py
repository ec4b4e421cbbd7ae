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
from clusterip.adapters.dataplane import MapPlane, OtherVersionError
from clusterip.adapters.hooks import KernelHooks
from clusterip.adapters.interface_maps import PinnedPlanes
from clusterip.adapters.links import Link
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
TAKEN_OVER = "planes.renew(2) and (planes.level(2), planes.settle(2))"
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
        "from clusterip.adapters import bpffs, interface_maps as module, libbpf, libbpf_maps, pins"
    )
    running.do("planes = module.PinnedPlanes(bpffs.namespace_folder())")
    yield running
    running.end()


@pytest.fixture
def planes(folder: Path) -> PinnedPlanes:
    planes = PinnedPlanes(folder)
    planes.create(STATE)
    with planes.open(2) as plane:
        plane.set_bucket(0, 1, OWNED)
        plane.set_bucket(5, 256, WATCHING)
        plane.set_flow_slots(5, 256, 1 << 63)
        plane.set_deadline(0, DEADLINE)
        plane.set_deadline(5, DEADLINE)
        plane.follow(0, 9, 8, 7, 6)
        plane.trust({255: KEY})
    return planes


def take_over(planes: PinnedPlanes) -> None:
    assert planes.renew(2)
    planes.level(2)
    planes.settle(2)


def received(folder: Path) -> Callable[[], int]:
    """Return a function that has the program pinned now see a ping, whatever is pinned later."""
    fd = libbpf.call("bpf_obj_get", str(folder / "2" / "ingress").encode())
    return lambda: libbpf.run_program(fd, PING)[0]


def everything(planes: PinnedPlanes) -> tuple[object, ...]:
    with planes.open(2) as plane:
        return (
            plane.state(),
            [(plane.states(at), plane.deadline(at)) for at in range(limits.GROUPS)],
            [plane.flow_slots(5, bucket) for bucket in range(1, 257)],
            [plane.count(slot) for slot in range(limits.RULES)],
            [plane.traffic(at) for at in range(limits.GROUPS)],
        )


def test_taken_over_and_back(planes: PinnedPlanes, folder: Path, program: Running) -> None:
    ping = received(folder)
    for _ in range(5):
        ping()
    with pins.maps(folder / "2") as maps:
        libbpf_maps.put(maps["own_openings"], KEPT, OURS)
        libbpf_maps.put(maps["openings"], CHANGED, OURS)
        ids = {name: libbpf.map_info(fd).id for name, fd in maps.items()}
    before = everything(planes)
    program.do(TAKEN_OVER)
    assert not planes.lags(2)
    assert not planes.fits(2)
    assert (folder / "2" / "more").exists()
    planes.try_renewing(2)
    with pins.maps(folder / "2") as maps:
        same = {name for name, fd in maps.items() if libbpf.map_info(fd).id == ids[name]}
        assert same == {"keys", "fragments", "own_openings"}
        assert libbpf.map_info(maps["openings"]).max_entries == 32768
        assert libbpf_maps.entries(maps["openings"]) == {CHANGED: OURS}
        peer = libbpf_maps.entries(maps["peers"])[NODE]
        assert peer == bytes(abi.Peer(incarnation=8, ahead=7, slack=6)) + bytes(24)
    # What is newer is read here, too, and nothing is made up in place of what older ones lack.
    assert everything(planes) == before
    assert eval(program.do("with planes.open(2) as p: print(p.count(1).bytes)")) == 5 * len(PING)
    received(folder)()
    take_over(planes)
    assert planes.fits(2)
    with planes.open(2) as plane:
        assert plane.count(1).packets[Reason.ACCEPT_OWNED] == 6
        assert plane.traffic(0)[0] == (6, 6 * len(PING))
        assert (plane.state(), plane.states(0)[0], plane.deadline(0)) == (STATE, OWNED, DEADLINE)
        assert (plane.states(5)[255], plane.flow_slots(5, 256)) == (WATCHING, 1 << 63)
    with pins.maps(folder / "2") as maps:
        assert libbpf_maps.entries(maps["openings"]) == {CHANGED: OURS}
        assert libbpf_maps.entries(maps["peers"]) == {NODE: bytes(abi.Peer(8, 7, 6))}
    assert {one.name for one in folder.iterdir()} == {"2"}
    assert not (folder / "2" / "more").exists()
    # As the newer one is asked whether this one could go on.
    program.do(TAKEN_OVER)
    program.do(f"from pathlib import Path; older = Path({str(OBJECT)!r}).read_bytes()")
    program.do("with pins.taking_over(Path(planes._folder / '2'), older): pass")


def test_what_comes_between_is_brought_after(
    planes: PinnedPlanes, folder: Path, program: Running
) -> None:
    ping = received(folder)
    with pins.maps(folder / "2") as old, planes.open(2) as plane:
        for key in (KEPT, CHANGED, GONE):
            libbpf_maps.put(old["openings"], key, OURS)
        ping()
        program.do("planes.renew(2)")
        for _ in range(7):
            ping()
        plane.set_flow_slots(5, 256, 3)
        plane.set_deadline(5, 0)  # as by a message that shows the standstill of our clock
        for key, value in ((CHANGED, THEIRS), (GONE, None), (COME, THEIRS)):
            libbpf_maps.put(old["openings"], key, value)
        assert planes.lags(2)
        program.do("planes.level(2)")
        with planes.open(2) as now:
            assert (now.deadline(0), now.deadline(5)) == (DEADLINE, 0)
        # It may have answered nobody since it was taken over, and counts what it sees.
        later = received(folder)
        for _ in range(3):
            later()
        ping()
        program.do("planes.settle(2)")
    with planes.open(2) as now:
        assert now.count(1).packets[Reason.ACCEPT_OWNED] == 12
        assert now.count(1).bytes == 12 * len(PING)
        assert now.traffic(0)[0] == (12, 12 * len(PING))
        assert now.flow_slots(5, 256) == 1 << 63 | 3
    with pins.maps(folder / "2") as maps:
        noted = libbpf_maps.entries(maps["openings"])
    assert noted == {KEPT: OURS, CHANGED: THEIRS, COME: THEIRS}


def test_who_listens_closes_the_new_groups_too(
    planes: PinnedPlanes, folder: Path, program: Running, eth0: Link
) -> None:
    """While the old program decides, a message that shows the lease to be over closes both."""
    hooks, until = KernelHooks(), boottime() + MINUTE
    with planes.open(2) as plane:
        plane.set_deadline(0, until)
        plane.follow(0, SENDER, INCARNATION, 0, 2 * MINUTE)
        plane.trust({KEY_ID: clock_key(SECRET, CLUSTER)})
    with planes.programs(2) as programs:
        hooks.attach(eth0, programs, XdpMode.AUTO)
        before = hooks.attached(eth0, programs)
    program.do("planes.renew(2)")
    with planes.programs(2) as programs:
        hooks.heed(eth0, programs)
    with planes.open(2) as new, planes.programs(2) as programs:
        assert not hooks.attached(eth0, programs).tc
        send(carried(beat(boottime())))
        assert new.deadline(0) == until
        send(carried(beat(until)))
        assert new.deadline(0) == 0
        with pins.maps(folder / "other-2") as old:
            assert MapPlane(old).deadline(0) == 0
        hooks.attach(eth0, programs, XdpMode.AUTO)
        assert hooks.attached(eth0, programs) == before
        for _ in range(2):
            hooks.unheed(eth0)
        assert tc("filter show dev eth0 ingress").count("handle 0x") == 1


def test_what_is_counted_meanwhile_stays(
    planes: PinnedPlanes, folder: Path, program: Running
) -> None:
    """While counters are brought after, the new program counts on all processors."""
    ping = received(folder)
    program.do("planes.renew(2)")
    for _ in range(1000):
        ping()
    count, fd = 200_000, libbpf.call("bpf_obj_get", str(folder / "2" / "ingress").encode())
    threads = [
        threading.Thread(target=libbpf.time_program, args=(fd, PING, count)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    program.do("planes.settle(2)")
    for thread in threads:
        thread.join()
    with planes.open(2) as now:
        assert now.count(1).packets[Reason.ACCEPT_OWNED] == 1000 + 3 * count


def test_a_layout_that_continues_none_is_refused(
    planes: PinnedPlanes, folder: Path, tmp_path: Path
) -> None:
    source = newer(tmp_path, lowest=NEWER)
    content = (source / "clusterip" / "adapters" / "clusterip.bpf.o").read_bytes()
    before = sorted(folder.rglob("*"))
    with pytest.raises(OtherVersionError), pins.taking_over(folder / "2", content):
        pass
    running = Running(source)
    running.do("from clusterip.adapters import bpffs, interface_maps as module, dataplane")
    running.do("planes = module.PinnedPlanes(bpffs.namespace_folder())")
    tried = "try: planes.renew(2)\nexcept dataplane.OtherVersionError: print('refused')"
    assert running.do(f"exec({tried!r})") == "refused\n"
    running.end()
    assert sorted(folder.rglob("*")) == before


def test_of_a_related_layout_the_record_alone_is_changed(
    planes: PinnedPlanes, program: Running
) -> None:
    """As where an interface leaves a qdisc to another one, whose daemon is of another version."""
    program.do(TAKEN_OVER)
    with planes.open(2) as plane:
        heir = msgspec.structs.replace(STATE, taken=Taken(clsact=True))
        plane.commit(heir)
        assert plane.state() == heir
        with pytest.raises(OtherVersionError):
            plane.commit(chains.append(Chain((STATE,)), more(), 2).interfaces[0])
        assert plane.state() == heir
        with pytest.raises(OtherVersionError):
            plane.commit(msgspec.structs.replace(STATE, xdp_note=incompressible(limits.DOCUMENT)))
    assert program.do("with planes.open(2) as p: print(p.state().taken.clsact)") == "True\n"
    assert program.do("print(planes.fits(2))") == "True\n"


def more() -> Rule:
    return msgspec.structs.replace(RULE, match=Match(6))


def incompressible(size: int) -> str:
    return random.Random(1).randbytes(size).hex()


def theirs(program: Running, state: InterfaceState) -> None:
    """Have rules be in force in the newer version's maps."""
    document = encode(state)
    program.do(f"from clusterip.core.packets.state import decode; state = decode({document!r})")
    program.do("with planes.open(2) as plane: plane.commit(state)")


def far(state: InterfaceState, slot: int) -> InterfaceState:
    (entry,) = state.entries
    return msgspec.structs.replace(state, entries=(msgspec.structs.replace(entry, slot=slot),))


def test_rules_in_places_that_the_older_lacks(
    planes: PinnedPlanes, folder: Path, program: Running
) -> None:
    """It makes do with maps as large as they need."""
    program.do(TAKEN_OVER)
    slot = limits.RULES + 70
    theirs(program, far(STATE, slot))
    ping = received(folder)
    ping()
    planes.try_renewing(2)
    take_over(planes)
    assert planes.fits(2)
    received(folder)()
    with planes.open(2) as plane:
        assert plane.count(slot).packets[Reason.ACCEPT_OWNED] == 2
    # And the newer one goes on with those.
    program.do(TAKEN_OVER)
    program.do(f"with planes.open(2) as plane: slot = plane.count({slot})")
    assert program.do("print(sum(slot.packets.values()))") == "2\n"


def refused(planes: PinnedPlanes, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    with pytest.raises(NoRoomError, match="more than the installed release has room for"):
        planes.renew(2)
    assert sorted(folder.rglob("*")) == before
    assert not planes.lags(2)


def test_of_a_daemon_they_are_refused(planes: PinnedPlanes, folder: Path, program: Running) -> None:
    """Before a restart: its file has more than the successor reads."""
    program.do(TAKEN_OVER)
    theirs(program, msgspec.structs.replace(far(STATE, limits.RULES), cluster="web"))
    refused(planes, folder)
    with pytest.raises(NoRoomError), pins.taking_over(folder / "2", object_content()):
        pass


def test_more_than_the_older_can_have(
    planes: PinnedPlanes, folder: Path, program: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of them are taken over in their place, in one step."""
    program.do(TAKEN_OVER)
    many = chains.append(Chain((STATE,)), more(), 2).interfaces[0]
    theirs(program, many)
    monkeypatch.setattr(limits, "SERVICES", 2)
    refused(planes, folder)
    assert planes.renew(2, STATE)
    planes.level(2)
    planes.settle(2)
    with planes.open(2) as plane:
        assert plane.state() == STATE
        assert (plane.states(0)[0], plane.deadline(0)) == (OWNED, DEADLINE)


def untouched(planes: PinnedPlanes, folder: Path) -> bool:
    """Tell whether a ping for the VIP goes past the program that is pinned, uncounted."""
    before = everything(planes)
    received(folder)()
    return everything(planes) == before


@pytest.mark.parametrize("back", [False, True])
def test_no_rules_can_be_said_to_every_layout(
    planes: PinnedPlanes, folder: Path, program: Running, back: bool
) -> None:
    none = msgspec.structs.replace(STATE, groups=(), entries=())
    program.do(TAKEN_OVER)
    if back:
        program.do("with planes.open(2) as p: state = p.state()")
        take_over(planes)
        program.do("from clusterip.core.packets.state import InterfaceState")
        program.do("import msgspec; none = msgspec.structs.replace(state, groups=(), entries=())")
        program.do("with planes.open(2) as plane: plane.commit(none)")
    else:
        assert not untouched(planes, folder)
        with planes.open(2) as plane:
            plane.commit(none)
            plane.commit(msgspec.structs.replace(none, taken=Taken(clsact=True)))
            assert plane.state() == msgspec.structs.replace(none, taken=Taken(clsact=True))
    assert untouched(planes, folder)
    # Whoever takes over finds none.
    if back:
        program.do(TAKEN_OVER)
    else:
        take_over(planes)
    with planes.open(2) as plane:
        assert plane.state().entries == ()
    assert untouched(planes, folder)


def test_what_an_older_one_began_is_closed_by_the_newer(
    planes: PinnedPlanes, folder: Path, program: Running
) -> None:
    """The entries of the maps to close are shorter than its own."""
    program.do(TAKEN_OVER)
    assert planes.renew(2)
    with pins.maps(folder / "other-2") as old:
        MapPlane(old).set_deadline(0, 0)  # as by a message
    program.do("planes.level(2)")
    program.do("planes.settle(2)")
    with planes.open(2) as plane:
        assert [plane.deadline(at) for at in (0, 4, 5)] == [0, 0, DEADLINE]
        assert plane.states(0)[0] == OWNED
