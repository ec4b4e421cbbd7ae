"""Sends datagrams: `python -m tests.lan.flooder FILE ADDRESS PORT COUNT [RATE]`.

FILE has a batch a line: datagrams of one length, in hexadecimal digits, with spaces between them.
A batch is handed to the kernel in one piece, which makes datagrams of it (UDP_SEGMENT, udp(7)):
that is several times as many a second. The batches are sent in turn, COUNT datagrams in all, as
fast as it can, or RATE a second.
"""

from __future__ import annotations

import itertools
import socket
import sys
import time
from pathlib import Path

_UDP_SEGMENT = 103
_LONGEST_SEGMENT = 1472  # what an Ethernet frame has room for


def main(file: str, address: str, port: str, count: str, rate: str = "inf") -> None:
    """Send them; print how many, and how long it took."""
    lines = [line.split() for line in Path(file).read_text().splitlines()]
    batches = [(len(line), len(line[0]) // 2, bytes.fromhex("".join(line))) for line in lines]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect((address, int(port)))
        sent, began = 0, time.monotonic()
        for number, length, batch in itertools.cycle(batches):
            if sent >= int(count):
                break
            time.sleep(max(0.0, began + sent / float(rate) - time.monotonic()))
            if length <= _LONGEST_SEGMENT:
                one.setsockopt(socket.SOL_UDP, _UDP_SEGMENT, length)
                one.send(batch)
            else:
                one.setsockopt(socket.SOL_UDP, _UDP_SEGMENT, 0)
                for at in range(0, len(batch), length):
                    one.send(batch[at : at + length])
            sent += number
    sys.stdout.write(f"sent {sent} in {time.monotonic() - began:.2f} s\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
