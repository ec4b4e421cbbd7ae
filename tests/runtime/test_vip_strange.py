"""A VIP that somebody adds in an unusual form: the daemon takes it off, and leaves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.namespaces import ip
from tests.runtime.places import Place
from tests.served import until

pytestmark = pytest.mark.root("network namespaces")

WRITTEN = [
    "10.9.0.100 peer 10.9.0.200/32",
    "10.9.0.100 peer 10.9.0.200/24",
    "10.9.0.100/31",
    "2001:db8::100 peer 2001:db8::200/128",
    "2001:db8::100/127",
]


@pytest.mark.parametrize("written", WRITTEN)
def test_it_is_refused_before_and_taken_off_later(place: Place, written: str) -> None:
    Path("/proc/sys/net/ipv6/conf/eth0/disable_ipv6").write_text("0")
    vip = written.split(maxsplit=1)[0].split("/", maxsplit=1)[0]
    place.change('address = "10.9.0.100"', f'address = "{vip}"')

    def there() -> list[str]:
        lines = ip("address show dev eth0").splitlines()
        return sorted(line.strip() for line in lines if f" {vip}" in line)

    ip(f"address add {written} dev eth0")
    refused = place.start()
    assert refused.ended() != 0
    # The cure that is printed is one.
    (_, cure) = refused.said.split("then: ")[-1].split("ip address del ", 1)
    ip(f"address del {cure.split(' (the')[0]}")
    assert there() == []

    daemon = place.serving()
    ours = there()
    if ":" in vip:
        # Linux has an IPv6 address once: this one takes the place of ours.
        ip(f"address del {vip}/128 dev eth0")
    ip(f"address add {written} dev eth0")
    daemon.await_line(f"a VIP that others added was taken off: {written} on eth0")
    until(lambda: there() == ours)
    assert daemon.stop() == 0
    assert there() == []
