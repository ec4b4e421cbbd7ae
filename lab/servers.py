"""Real servers, each of which says the name of the host it runs on."""

from __future__ import annotations

import resource
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lab.wait import eventually

if TYPE_CHECKING:
    from lab.namespace import Namespace
    from lab.processes import Process
    from lab.topology import Node

HTTP_PORT: Final = 80
UDP_PORT: Final = 7
LARGE_BYTES: Final = 64 << 20
FTP_BYTES: Final = 1 << 20
_OPEN_FILES: Final = 65536

_NGINX = """\
load_module modules/ngx_stream_module.so;
daemon off;
master_process off;
pid {base}.pid;
error_log {base}.error;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1d;
    client_body_temp_path {base}.body;
    proxy_temp_path {base}.proxy;
    fastcgi_temp_path {base}.fastcgi;
    uwsgi_temp_path {base}.uwsgi;
    scgi_temp_path {base}.scgi;
    server {{
{http}
        default_type text/plain;
        location / {{ return 200 "{name}\\n"; }}
        location /large {{
            alias {base}.large;
            limit_rate $arg_rate;
        }}
    }}
}}
stream {{
    server {{
{udp}
        return "{name} $bytes_received\\n";
    }}
}}
"""


_VSFTPD = """\
listen=YES
listen_port={port}
background=NO
anonymous_enable=YES
local_enable=NO
no_anon_password=YES
anon_root={files}
secure_chroot_dir={nothing}
ftpd_banner={name}
pasv_address={address}
pasv_min_port={first}
pasv_max_port={last}
connect_from_port_20=YES
ftp_data_port={data}
seccomp_sandbox=NO
xferlog_enable=NO
"""


def nginx(host: Node, http: tuple[int, ...] = (HTTP_PORT,), udp: int = UDP_PORT) -> Process:
    """Start nginx on all addresses: on host h1 it answers `h1` and a newline.

    To a datagram it answers `h1 LENGTH`, which tells a client to which of its datagrams.
    `/large?rate=64k` is LARGE_BYTES long and sent at that rate a second; without one, at once.
    """
    base = host.directory / f"{host.name}-nginx"
    config = base.with_suffix(".conf")
    config.write_text(nginx_configuration(host.name, base, http, udp))
    with Path(f"{base}.large").open("wb") as large:
        large.truncate(LARGE_BYTES)
    # By itself, nginx would raise the limit in worker processes only.
    limit = ("prlimit", f"--nofile={open_files()}:")
    server = host.start(*limit, "nginx", "-e", f"{base}.error", "-c", str(config))
    for port in http:
        wait_for_listener(host, port)
    return server


def nginx_configuration(
    name: str, base: Path, http: tuple[int, ...] = (HTTP_PORT,), udp: int = UDP_PORT
) -> str:
    """Return a configuration of nginx for `nginx`'s answers; all of its files begin with `base`."""
    return _NGINX.format(
        base=base,
        name=name,
        http="\n".join(f"        listen {port};\n        listen [::]:{port};" for port in http),
        udp=f"        listen {udp} udp;\n        listen [::]:{udp} udp;",
    )


def vsftpd(host: Node, address: str, port: int, passive: tuple[int, int]) -> Process:
    """Start an anonymous FTP server whose passive mode names `address` and a port of the range.

    In active mode it connects from the port below its own (RFC 959, section 5.2).
    It serves a file `name` with the name of the host, and FTP_BYTES zeros as `large`.
    """
    base = host.directory / f"{host.name}-ftp-{port}"
    files, nothing = Path(f"{base}.files"), Path(f"{base}.nothing")
    for folder in (files, nothing):
        folder.mkdir(mode=0o755)
    (files / "name").write_text(host.name)
    (files / "large").write_bytes(bytes(FTP_BYTES))
    first, last = passive
    config = Path(f"{base}.conf")
    config.write_text(
        _VSFTPD.format(
            name=host.name,
            port=port,
            files=files,
            nothing=nothing,
            address=address,
            first=first,
            last=last,
            data=port - 1,
        )
    )
    server = host.start("vsftpd", str(config))
    wait_for_listener(host, port)
    return server


def open_files() -> int:
    """Return how many files a server or a client of thousands of connections may open."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(_OPEN_FILES, most) if most != resource.RLIM_INFINITY else _OPEN_FILES


def iperf3(host: Node, vip: str) -> Process:
    """Start an iperf3 server on the VIP, which must be an address of the host by then."""
    server = host.start("iperf3", "--server", "--bind", vip, "--forceflush")
    server.wait_output("Server listening")
    return server


def wait_for_listener(namespace: Namespace, port: int) -> None:
    """Wait until something in the namespace accepts connections to a TCP port."""

    def accepts() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    eventually(lambda: namespace.call(accepts), what=f"{namespace.name} to listen on port {port}")
