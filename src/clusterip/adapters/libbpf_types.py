"""The functions and structures of libbpf 1.1 that `libbpf` calls, as ctypes knows them.

Signatures are those of bpf.h, libbpf.h and linux/bpf.h.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

_c = ctypes
_fd = ctypes.c_int
_size = ctypes.c_size_t
_text = ctypes.c_char_p
_data = ctypes.c_void_p


class Options(ctypes.Structure):
    """An options structure of libbpf: its first field says how long it is."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(sz=ctypes.sizeof(self), **fields)


class TestRunOptions(Options):
    """struct bpf_test_run_opts."""

    _fields_ = (
        ("sz", _size),
        ("data_in", _data),
        ("data_out", _data),
        ("data_size_in", _c.c_uint32),
        ("data_size_out", _c.c_uint32),
        ("ctx_in", _data),
        ("ctx_out", _data),
        ("ctx_size_in", _c.c_uint32),
        ("ctx_size_out", _c.c_uint32),
        ("retval", _c.c_uint32),
        ("repeat", _c.c_int),
        ("duration", _c.c_uint32),
        ("flags", _c.c_uint32),
        ("cpu", _c.c_uint32),
        ("batch_size", _c.c_uint32),
    )


class XdpContext(ctypes.Structure):
    """struct xdp_md of linux/bpf.h: offsets where that has addresses."""

    _fields_ = (
        ("data", _c.c_uint32),
        ("data_end", _c.c_uint32),
        ("data_meta", _c.c_uint32),
        ("ingress_ifindex", _c.c_uint32),
        ("rx_queue_index", _c.c_uint32),
        ("egress_ifindex", _c.c_uint32),
    )


class XdpAttachOptions(Options):
    """struct bpf_xdp_attach_opts."""

    _fields_ = (("sz", _size), ("old_prog_fd", _c.c_int), ("end", _c.c_int))


class TcHook(Options):
    """struct bpf_tc_hook."""

    _fields_ = (
        ("sz", _size),
        ("ifindex", _c.c_int),
        ("attach_point", _c.c_int),
        ("parent", _c.c_uint32),
    )


class TcOptions(Options):
    """struct bpf_tc_opts."""

    _fields_ = (
        ("sz", _size),
        ("prog_fd", _c.c_int),
        ("flags", _c.c_uint32),
        ("prog_id", _c.c_uint32),
        ("handle", _c.c_uint32),
        ("priority", _c.c_uint32),
    )


class OpenOptions(Options):
    """struct bpf_object_open_opts; fields up to the one we set."""

    _fields_ = (
        ("sz", _size),
        ("object_name", _text),
        ("relaxed_maps", _c.c_bool),
        ("pin_root_path", _text),
        ("attach_prog_fd", _c.c_uint32),
        ("kconfig", _text),
        ("btf_custom_path", _text),
        ("kernel_log_buf", _c.c_void_p),
        ("kernel_log_size", _size),
        ("kernel_log_level", _c.c_uint32),
    )


class ProgramInfo(ctypes.Structure):
    """struct bpf_prog_info of linux/bpf.h; fields up to the name."""

    _fields_ = (
        ("type", _c.c_uint32),
        ("id", _c.c_uint32),
        ("tag", _c.c_uint8 * 8),
        ("jited_prog_len", _c.c_uint32),
        ("xlated_prog_len", _c.c_uint32),
        ("jited_prog_insns", _c.c_uint64),
        ("xlated_prog_insns", _c.c_uint64),
        ("load_time", _c.c_uint64),
        ("created_by_uid", _c.c_uint32),
        ("nr_map_ids", _c.c_uint32),
        ("map_ids", _c.c_uint64),
        ("name", _c.c_char * 16),
    )


class MapInfo(ctypes.Structure):
    """struct bpf_map_info of linux/bpf.h; fields up to those of BTF."""

    _fields_ = (
        ("type", _c.c_uint32),
        ("id", _c.c_uint32),
        ("key_size", _c.c_uint32),
        ("value_size", _c.c_uint32),
        ("max_entries", _c.c_uint32),
        ("map_flags", _c.c_uint32),
        ("name", _c.c_char * 16),
        ("ifindex", _c.c_uint32),
        ("btf_vmlinux_value_type_id", _c.c_uint32),
        ("netns_dev", _c.c_uint64),
        ("netns_ino", _c.c_uint64),
        ("btf_id", _c.c_uint32),
        ("btf_key_type_id", _c.c_uint32),
        ("btf_value_type_id", _c.c_uint32),
    )


SIGNATURES: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "libbpf_set_print": (_data, (_data,)),
    "libbpf_num_possible_cpus": (_c.c_int, ()),
    "bpf_object__open_mem": (_data, (_data, _size, _data)),
    "bpf_object__load": (_c.c_int, (_data,)),
    "bpf_object__kversion": (_c.c_uint32, (_data,)),
    "bpf_object__close": (None, (_data,)),
    "bpf_object__find_map_by_name": (_data, (_data, _text)),
    "bpf_object__find_program_by_name": (_data, (_data, _text)),
    "bpf_map__fd": (_fd, (_data,)),
    **{
        f"bpf_map__{what}": (_c.c_uint32, (_data,))
        for what in ("type", "key_size", "value_size", "max_entries", "map_flags")
    },
    "bpf_map__set_max_entries": (_c.c_int, (_data, _c.c_uint32)),
    "bpf_map__reuse_fd": (ctypes.c_int, (_data, ctypes.c_int)),
    "bpf_program__fd": (_fd, (_data,)),
    "bpf_obj_pin": (_c.c_int, (_fd, _text)),
    "bpf_obj_get": (_fd, (_text,)),
    "bpf_map_create": (_fd, (_c.c_int, _text, *(_c.c_uint32,) * 3, _data)),
    "bpf_map_lookup_elem": (_c.c_int, (_fd, _data, _data)),
    "bpf_map_update_elem": (_c.c_int, (_fd, _data, _data, _c.c_uint64)),
    "bpf_map_delete_elem": (_c.c_int, (_fd, _data)),
    "bpf_map_lookup_batch": (_c.c_int, (_fd, *(_data,) * 6)),
    "bpf_map_get_fd_by_id": (_fd, (_c.c_uint32,)),
    "bpf_prog_get_fd_by_id": (_fd, (_c.c_uint32,)),
    "bpf_obj_get_info_by_fd": (_c.c_int, (_fd, _data, _data)),
    "bpf_prog_attach": (_c.c_int, (_fd, _c.c_int, _c.c_int, _c.c_uint32)),
    "bpf_prog_detach2": (_c.c_int, (_fd, _c.c_int, _c.c_int)),
    "bpf_prog_query": (_c.c_int, (_c.c_int, _c.c_int, _c.c_uint32, _data, _data, _data)),
    "bpf_prog_test_run_opts": (_c.c_int, (_fd, _data)),
    "bpf_tc_hook_create": (_c.c_int, (_data,)),
    "bpf_tc_hook_destroy": (_c.c_int, (_data,)),
    "bpf_tc_attach": (_c.c_int, (_data, _data)),
    "bpf_tc_query": (_c.c_int, (_data, _data)),
    "bpf_tc_detach": (_c.c_int, (_data, _data)),
    "bpf_xdp_attach": (_c.c_int, (_c.c_int, _fd, _c.c_uint32, _data)),
    "bpf_xdp_detach": (_c.c_int, (_c.c_int, _c.c_uint32, _data)),
    "bpf_xdp_query_id": (_c.c_int, (_c.c_int, _c.c_int, _data)),
}
