"""Who may answer for a bucket: leases from a majority, in one message.

Why no bucket is ever in use on two nodes at once (majority mode):

1. A voter promises a bucket to one node at a time, and breaks the promise only when that node
   released the bucket or was silent for D (voter).
2. A node uses a bucket only while a majority of the voters has promised it, and only until L
   after it sent the newest message that this majority had heard when it promised (holder).
   Since D is longer than L whatever the two clocks do (timing), each of these promises outlives
   the use: a promise counted from hearing a message ends after a lease counted from sending it.
3. A node releases a bucket only after its kernel stopped using it: a message is made only when
   every event was taken. What it released counts only from a later request on.
4. Any two majorities share a voter, of neighbouring voter sets too (voter_set). Were two nodes
   to use one bucket at once, that voter would have promised it to both: against 1.
5. A memory that is lost loses no promise: a start without hand-over votes only when the longest
   lost promise is over, holds nothing from before (its boot id is new, its kernel is cleared
   first), and a planned restart hands its promises over.
6. The kernel stops by itself at the deadline, which is never later than the earliest lease end
   of the buckets in use: the daemon may be stopped at any point. Every time here is taken before
   what it times is sent and after what it times was received, so a pause only makes leases
   shorter and promises longer. That is so for a clock that goes on meanwhile: where it stands
   still too, the others' clocks tell (standstill), and the kernel looks at them by itself.

Nothing above asks who is alive or what the planner thinks: they decide who asks, that is all.

`alive` mode (two voters) gives up 4 on purpose: a node that listened for D and heard nothing
goes on with its own promise alone. When a partition hides the two from one another both serve;
when one is dead, D covers its lease as always. The first to hear the other stops.

Buckets that are draining are no part of this: the new owner leaves their connections alone (the
state TAKING) until the old one no longer lists them or nobody heard from it for D, and the old
one stops when a majority no longer hears it. Flows without a socket: flows.
"""
