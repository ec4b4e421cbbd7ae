"""How long things last in a cluster of peers, and why survivors serve in time.

All times are nanoseconds (int). A clock may be wrong by the rate rho = 1/1000 either way.

A holder's kernel stops at most L after it sent a message, on its clock; a voter keeps its
promise for D after it heard that message, on another clock. The holder's clock may be slow
(L on it lasts up to L / (1 - rho)) and the voter's fast (D on it lasts down to D / (1 + rho)),
so D / (1 + rho) >= L / (1 - rho), and what a packet spends between the kernel's look at the
deadline and the wire is the margin: D = L * (1 + rho) / (1 - rho) + margin = L * 1001 / 999
+ margin. A longer grace asked for by a planned restart is stretched the same way.

A bucket of a node that died is served again after D (the voters' promise, counted from the
dead node's last message, at worst sent in the moment of its death), one message that asks, and
one that grants: both leave at once, `gap` at worst after the one before. So D + 2 * gap +
round trip + scheduling of two daemons must fit the profile:

profile   T      L      margin  D         2 gap   left for network and scheduling   within
fast      30 ms  170 ms  20 ms  190.4 ms   3 ms   106 ms                            0.3 s
default  100 ms  700 ms  50 ms  751.5 ms  10 ms   238 ms                            1.0 s
relaxed  500 ms  3.5 s  250 ms  3.757 s   50 ms   1.19 s                            5.0 s

L / T is the number of messages in a row that may be lost before a healthy node stops: 5 to 7.
"""

from typing import Final, NamedTuple

from clusterip.core.units import MILLISECOND, SECOND

_STRETCH: Final = (1001, 999)
"""(1 + rho) / (1 - rho) for rho = 1/1000."""


class Timing(NamedTuple):
    """A profile; all in ns, all positive.

    `interval` T between messages, `lease` L, `margin` as above, `restart` the grace a planned
    restart asks for (at least L), `settle` how long a node that starts or lapsed listens before
    it counts as ready to take buckets from others.
    """

    interval: int
    lease: int
    margin: int
    restart: int = 5 * SECOND
    settle: int = 1 * SECOND

    def promise(self, grace: int) -> int:
        """Return how long a voter waits so that `grace` on a holder's clock is over, rounded up."""
        return -(-grace * _STRETCH[0] // _STRETCH[1]) + self.margin

    @property
    def noise(self) -> int:
        """What two clocks may seem to change by from message to message, ns: it says nothing."""
        return self.interval // 100

    @property
    def standstill(self) -> int:
        """For how long a machine stands still before nothing from before is believed, ns."""
        return self.interval // 4

    @property
    def reminder(self) -> int:
        """From one reminder to the next, ns: how long a machine that stood still may answer."""
        return self.interval // 10

    @property
    def gap(self) -> int:
        """The least time between two messages of a node."""
        return self.interval // 20


DEFAULT: Final = Timing(100 * MILLISECOND, 700 * MILLISECOND, 50 * MILLISECOND)
FAST: Final = Timing(30 * MILLISECOND, 170 * MILLISECOND, 20 * MILLISECOND)
RELAXED: Final = Timing(500 * MILLISECOND, 3500 * MILLISECOND, 250 * MILLISECOND, settle=4 * SECOND)

PROFILES: Final = {"default": DEFAULT, "fast": FAST, "relaxed": RELAXED}
SERVE_WITHIN: Final = {"default": SECOND, "fast": 300 * MILLISECOND, "relaxed": 5 * SECOND}
"""Within what time of a death the survivors serve its buckets, ns."""
