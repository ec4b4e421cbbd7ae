"""libbpf.so.1, as much of it as is needed, through ctypes.

Failures become OSError here, with the kernel's or libbpf's errno, so that no caller sees a
return code.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

from clusterip.adapters import refusals
from clusterip.adapters.libbpf_types import (
    SIGNATURES,
    MapInfo,
    OpenOptions,
    ProgramInfo,
    TcHook,
    TcOptions,
    TestRunOptions,
    XdpAttachOptions,
    XdpContext,
)
from clusterip.core.errors import SystemFaultError

MAP_TYPE_ARRAY: Final = 2
XDP_UPDATE_IF_NOEXIST: Final = 1 << 0
XDP_DRV_MODE: Final = 1 << 2
TC_INGRESS: Final = 1 << 0
TC_EGRESS: Final = 1 << 1
TC_F_REPLACE: Final = 1 << 0
TEST_XDP_LIVE_FRAMES: Final = 1 << 1
_LIBBPF_ERRNO_START: Final = 4000
_KERNEL: Final = "Linux 6.1 or later with CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_BPF is needed"
_FORBIDDEN: Final = (
    "allow bpf(2), which root with CAP_SYS_ADMIN may else: the seccomp profile of a container, a"
    " security module or the kernel's lockdown forbids it"
)

_ByName = Mapping[str, int]
_NONE: Final[_ByName] = {}
_SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


@cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError as error:
        raise SystemFaultError(f"cannot load libbpf: {error}", "apt install libbpf1") from error
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    # Silence: what libbpf would print to stderr, we say in our own errors.
    library.libbpf_set_print(None)
    return library


def _error(number: int, what: str) -> OSError:
    if number >= _LIBBPF_ERRNO_START:
        return OSError(number, f"{what}: libbpf error {number}")
    return OSError(number, f"{what}: {os.strerror(number)}")


def call(name: str, *arguments: Any) -> int:
    """Call a function that returns a number, negative on failure."""
    result: int = getattr(_library(), name)(*arguments)
    if result < 0:
        raise _error(-result if result != -1 else ctypes.get_errno() or 1, name)
    return result


def _pointer(name: str, *arguments: Any) -> int:
    """Call a function that returns a pointer, NULL on failure."""
    result: int | None = getattr(_library(), name)(*arguments)
    if not result:
        raise _error(ctypes.get_errno(), name)
    return result


def possible_cpus() -> int:
    """Return how many values an element of a per-CPU map has."""
    return call("libbpf_num_possible_cpus")


class Object:
    """A BPF object file in the kernel: its maps and programs by name, as file descriptors.

    The descriptors live as long as the object is open; pin what shall outlive it.
    """

    def __init__(self, content: bytes, maps: _ByName = _NONE, room: _ByName = _NONE) -> None:
        """Open and load; SystemFaultError with the verifier's last words if that fails.

        `maps` are descriptors of maps, by name, to be used in place of new ones where there would
        be such a map, laid out alike. `room` says how many entries maps are to have at least.
        """
        self._room = room
        log = ctypes.create_string_buffer(1 << 16)
        error = self._load(content, maps, log)
        if error is not None and error.errno == errno.ENOSPC:
            # That is said of our log, into which not all fits; what libbpf makes itself has room.
            error = self._load(content, maps, None)
        if error is None:
            return
        scarce = error.errno in _SCARCE
        cure = _FORBIDDEN if error.errno == errno.EPERM else _KERNEL
        words = [] if scarce else log.value.decode(errors="replace").strip().splitlines()[-3:]
        raise SystemFaultError(
            f"the kernel refused the BPF programs: {os.strerror(error.errno or 0)}"
            + "".join(f"\n  {line}" for line in words),
            refusals.cure(error) if scarce else cure,
        ) from error

    def _load(self, content: bytes, maps: _ByName, log: Any) -> OSError | None:
        """Open and load, with the words of the verifier in `log`; return why that cannot be."""
        options = OpenOptions(
            object_name=b"clusterip",
            kernel_log_buf=ctypes.cast(log, ctypes.c_void_p),
            kernel_log_size=0 if log is None else len(log),
        )
        try:
            self._object = _pointer(
                "bpf_object__open_mem", content, len(content), ctypes.byref(options)
            )
        except OSError as error:
            if error.errno in _SCARCE:  # from libbpf 1.5 on it asks the kernel already
                return error
            raise
        try:
            for name, entries in self._room.items():
                if _library().bpf_map__max_entries(self._map(name)) < entries:
                    call("bpf_map__set_max_entries", self._map(name), entries)
            for name, fd in maps.items():
                with contextlib.suppress(FileNotFoundError):
                    found = self._map(name)
                    if _fits(found, map_info(fd)):
                        call("bpf_map__reuse_fd", found, fd)
            call("bpf_object__load", self._object)
        except OSError as error:
            self.close()
            return error
        return None

    def map_fd(self, name: str) -> int:
        """Return the descriptor of a map; FileNotFoundError where there is none of that name."""
        return call("bpf_map__fd", self._map(name))

    def _map(self, name: str) -> int:
        return _pointer("bpf_object__find_map_by_name", self._object, name.encode())

    def program_fd(self, name: str) -> int:
        """Return the descriptor of a program."""
        found = _pointer("bpf_object__find_program_by_name", self._object, name.encode())
        return call("bpf_program__fd", found)

    def close(self) -> None:
        """Close it with all descriptors; what is pinned or attached stays."""
        _library().bpf_object__close(self._object)


def layout_of(content: bytes) -> tuple[int, int]:
    """Return which layout the maps of an object have, and the lowest that this one continues."""
    found = _pointer("bpf_object__open_mem", content, len(content), None)
    number: int = _library().bpf_object__kversion(found)
    _library().bpf_object__close(found)
    return number & 0xFFFF, number >> 16


def _fits(found: int, info: MapInfo) -> bool:
    """Tell whether a map is what an object would make."""
    library = _library()
    return (info.type, info.key_size, info.value_size, info.max_entries, info.map_flags) == (
        library.bpf_map__type(found),
        library.bpf_map__key_size(found),
        library.bpf_map__value_size(found),
        library.bpf_map__max_entries(found),
        library.bpf_map__map_flags(found),
    )


def pin(fd: int, path: str) -> None:
    """Give an object a name in bpffs."""
    call("bpf_obj_pin", fd, path.encode())


@contextlib.contextmanager
def pinned(path: str) -> Iterator[int]:
    """Open a pinned object for as long as the context lasts."""
    fd = call("bpf_obj_get", path.encode())
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def new_array(value_size: int) -> Iterator[int]:
    """Create an array map with one element of that many bytes."""
    fd = call("bpf_map_create", MAP_TYPE_ARRAY, b"clusterip", 4, value_size, 1, None)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def map_by_id(number: int) -> Iterator[int]:
    """Open a map by its id."""
    fd = call("bpf_map_get_fd_by_id", number)
    try:
        yield fd
    finally:
        os.close(fd)


def lookup(fd: int, key: int, value_size: int) -> bytes:
    """Read an element of a map whose keys are 32-bit numbers."""
    value = ctypes.create_string_buffer(value_size)
    call("bpf_map_lookup_elem", fd, ctypes.byref(ctypes.c_uint32(key)), value)
    return value.raw


def update(fd: int, key: int, value: bytes, *, key_bytes: int = 4) -> None:
    """Write an element of a map whose keys are numbers of that many bytes."""
    call("bpf_map_update_elem", fd, key.to_bytes(key_bytes, "little"), value, 0)


def wait_for_programs(outer: int) -> None:
    """Return when no program runs any more that ran when this was called.

    `outer` is an array of maps: the kernel waits so whenever one is written, and it is written as
    it is (maybe_wait_bpf_programs in kernel/bpf/syscall.c).
    """
    inner = int.from_bytes(lookup(outer, 0, 4), "little")
    with map_by_id(inner) as fd:
        update(outer, 0, fd.to_bytes(4, "little"))


def map_info(fd: int) -> MapInfo:
    """Return what the kernel says of a map."""
    info = MapInfo()
    size = ctypes.c_uint32(ctypes.sizeof(info))
    call("bpf_obj_get_info_by_fd", fd, ctypes.byref(info), ctypes.byref(size))
    return info


def program_info(fd: int) -> tuple[int, str]:
    """Return the id and the name (at most 15 characters) of a program."""
    info = ProgramInfo()
    size = ctypes.c_uint32(ctypes.sizeof(info))
    call("bpf_obj_get_info_by_fd", fd, ctypes.byref(info), ctypes.byref(size))
    return info.id, info.name.decode()


def program_name(number: int) -> str:
    """Return the name of the program with that id, empty if it has gone meanwhile."""
    try:
        fd = call("bpf_prog_get_fd_by_id", number)
    except FileNotFoundError:
        return ""
    try:
        return program_info(fd)[1]
    finally:
        os.close(fd)


def attached_programs(target: int, attach_type: int) -> list[int]:
    """Return the ids of programs at an attach point (enum bpf_attach_type).

    OSError EINVAL where the kernel does not know that attach point.
    """
    ids = (ctypes.c_uint32 * 64)()
    count = ctypes.c_uint32(len(ids))
    call("bpf_prog_query", target, attach_type, 0, None, ids, ctypes.byref(count))
    return list(ids[: count.value])


def tc_hook_create(ifindex: int) -> None:
    """Add the clsact qdisc; FileExistsError if it, or an ingress qdisc, is there."""
    hook = TcHook(ifindex=ifindex, attach_point=TC_INGRESS)
    call("bpf_tc_hook_create", ctypes.byref(hook))


def tc_hook_destroy(ifindex: int) -> None:
    """Remove the clsact qdisc and all filters on it."""
    hook = TcHook(ifindex=ifindex, attach_point=TC_INGRESS | TC_EGRESS)
    call("bpf_tc_hook_destroy", ctypes.byref(hook))


def tc_attach(ifindex: int, point: int, fd: int, *, handle: int, priority: int) -> None:
    """Put a program at TC_INGRESS or TC_EGRESS, in place of one with that handle and priority."""
    hook = TcHook(ifindex=ifindex, attach_point=point)
    options = TcOptions(prog_fd=fd, flags=TC_F_REPLACE, handle=handle, priority=priority)
    call("bpf_tc_attach", ctypes.byref(hook), ctypes.byref(options))


def tc_program(ifindex: int, point: int, *, handle: int, priority: int) -> int:
    """Return the id of the program of the bpf filter with that handle and priority, 0 for none."""
    hook = TcHook(ifindex=ifindex, attach_point=point)
    options = TcOptions(handle=handle, priority=priority)
    try:
        call("bpf_tc_query", ctypes.byref(hook), ctypes.byref(options))
    except OSError as error:
        # ENOENT: no such filter; EINVAL: no clsact, or a filter of another kind there.
        if error.errno in (errno.ENOENT, errno.EINVAL):
            return 0
        raise
    return int(options.prog_id)


def tc_detach(ifindex: int, point: int, *, handle: int, priority: int) -> None:
    """Remove the filter with that handle and priority."""
    hook = TcHook(ifindex=ifindex, attach_point=point)
    options = TcOptions(handle=handle, priority=priority)
    call("bpf_tc_detach", ctypes.byref(hook), ctypes.byref(options))


def xdp_attach(ifindex: int, fd: int) -> None:
    """Attach in native mode; OSError EBUSY or EEXIST if a program is there."""
    flags = XDP_DRV_MODE | XDP_UPDATE_IF_NOEXIST
    call("bpf_xdp_attach", ifindex, fd, flags, None)


def xdp_replace(ifindex: int, fd: int, old: int) -> None:
    """Have a program run in native mode in place of the one with that id, in one step.

    OSError where another is there meanwhile.
    """
    before = call("bpf_prog_get_fd_by_id", old)
    try:
        options = XdpAttachOptions(old_prog_fd=before)
        call("bpf_xdp_attach", ifindex, fd, XDP_DRV_MODE, ctypes.byref(options))
    finally:
        os.close(before)


def xdp_detach(ifindex: int) -> None:
    """Remove the program in native mode."""
    call("bpf_xdp_detach", ifindex, XDP_DRV_MODE, None)


def xdp_program(ifindex: int) -> int:
    """Return the id of the XDP program on the interface, in any mode; 0 for none."""
    number = ctypes.c_uint32()
    call("bpf_xdp_query_id", ifindex, 0, ctypes.byref(number))
    return number.value


def run_program(fd: int, frame: bytes) -> tuple[int, bytes]:
    """Run a program on a frame (BPF_PROG_TEST_RUN).

    Returns what the program returned, and the frame as it left it.
    """
    out = ctypes.create_string_buffer(len(frame) + 256)
    options = _test_run(
        fd, frame, data_out=ctypes.cast(out, ctypes.c_void_p), data_size_out=len(out)
    )
    return options.retval, out.raw[: options.data_size_out]


def time_program(fd: int, frame: bytes, repeat: int) -> tuple[int, int]:
    """Run a program on a frame many times.

    Returns what the program returned the last time, and how long a run took on average, in ns,
    with what the kernel does between two runs. Changes that it makes to the frame stay.
    """
    options = _test_run(fd, frame, repeat=repeat)
    return options.retval, options.duration


def send_frames(fd: int, frame: bytes, count: int, ifindex: int) -> None:
    """Have an XDP program decide about that many copies of a frame, as if `ifindex` had them.

    They are real (BPF_F_TEST_XDP_LIVE_FRAMES): XDP_PASS is received there, XDP_TX is sent from
    there. The interface is looked for in the network namespace of the caller.
    """
    context = XdpContext(data_end=len(frame), ingress_ifindex=ifindex)
    _test_run(
        fd,
        frame,
        repeat=count,
        flags=TEST_XDP_LIVE_FRAMES,
        ctx_in=ctypes.cast(ctypes.byref(context), ctypes.c_void_p),
        ctx_size_in=ctypes.sizeof(context),
    )


def _test_run(fd: int, frame: bytes, **fields: Any) -> TestRunOptions:
    data = ctypes.cast(ctypes.c_char_p(frame), ctypes.c_void_p)
    options = TestRunOptions(data_in=data, data_size_in=len(frame), **fields)
    call("bpf_prog_test_run_opts", fd, ctypes.byref(options))
    return options
