"""Sends back what it gets: `python -m tests.lan.echoer NAME PORT ADDRESS ...`.

A datagram is answered by NAME, a space and the datagram; a TCP connection, when the client has
closed its side, by NAME, a space and the SHA-256 of all that came. The addresses need not be there
yet.
"""

from __future__ import annotations

import hashlib
import selectors
import socket
import sys
import threading

_SO_RCVBUFFORCE = 33
_IP_FREEBIND, _IPV6_FREEBIND = 15, 78


def opened(kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    """Return a socket that is bound."""
    six = ":" in address
    one = socket.socket(socket.AF_INET6 if six else socket.AF_INET, kind)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if six:
        one.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
    else:
        one.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
    one.bind((address, port))
    return one


def connections(name: bytes, listener: socket.socket) -> None:
    """Answer one connection after the other."""
    while True:
        one, _ = listener.accept()
        with one:
            digest = hashlib.sha256()
            while got := one.recv(1 << 16):
                digest.update(got)
            one.sendall(name + b" " + digest.hexdigest().encode())


def main(name: str, port: str, *addresses: str) -> None:
    """Serve until killed."""
    selector = selectors.DefaultSelector()
    for address in addresses:
        datagrams = opened(socket.SOCK_DGRAM, address, int(port))
        datagrams.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 8 << 20)
        selector.register(datagrams, selectors.EVENT_READ, datagrams)
        listener = opened(socket.SOCK_STREAM, address, int(port))
        listener.listen()
        serve = threading.Thread(target=connections, args=(name.encode(), listener), daemon=True)
        serve.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        for key, _ in selector.select():
            datagrams = key.data
            datagram, client = datagrams.recvfrom(1 << 16)
            datagrams.sendto(f"{name} ".encode() + datagram, client)


if __name__ == "__main__":
    main(*sys.argv[1:])
