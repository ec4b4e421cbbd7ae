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
   lost promise is over, holds nothing from before (its incarnation is new, its kernel is cleared
   first), and a planned restart hands its promises over.
6. The kernel stops by itself at the deadline, which is never later than the earliest lease end
   of the buckets in use: the daemon may be stopped at any point. Every time here is taken before
   what it times is sent and after what it times was received, so a pause only makes leases
   shorter and promises longer. That is so for a clock that goes on meanwhile: where it stands
   still too, the others' clocks tell (standstill), and the kernel looks at them by itself.

7. A voter acknowledges a node only while that one hears it: while what it says echoes what this
   voter sent less than L ago. To be heard without hearing is to be silent: what is not
   acknowledged extends no promise (2), gives no lease (it says of whom it is so, and lists no
   grants), and keeps no drain going. Only promises made before stand, and the node still
   releases what it no longer asks for. To acknowledge too little only shortens leases.

8. A voter is one memory. A node that runs twice, by a file that was copied, would be two, of which
   each of two majorities could have one. So no incarnation takes the place of one that lives
   (peers); and where others hear another incarnation of a node than this one does, neither counts
   here, nor to itself, as voter or as who asks (contact, `doubled`), for as long as any grace
   may bind whom it heard. Where the two hear one another, or are told, at most one goes on
   (namesake).

Nothing above asks who is alive or what the planner thinks: they decide who asks, that is all.

Buckets that are draining are no part of this: the new owner leaves their connections alone (the
state TAKING) until the old one no longer lists them, to us or to those who hear it (indirect), or
nobody acknowledged it for D, and the old one stops when a majority does not acknowledge it any
more. A voter in a planned restart acknowledges nothing for a while: what it acknowledged before
counts for its grace, to both sides (`DRAINS` in holder; indirect). Flows without a socket: flows.
Who drains may be in the voter set before ours or after it, and we hear nothing of it ourselves:
then it is one of whom others heard and we did not, as long as they tell of it (indirect, 3 to 5).

So who hears nobody withholds nothing from a majority that hear one another:

- While it runs it loses its lease L at most after it heard them last. A node asks only while a
  majority acknowledges it, so it says then that it asks for nothing; if that is not heard either,
  it is silent, and the promises to it end (2). The others ask, one message, and grant, one
  message: all is served L + 2 gap + network later, or as after a death (timing).
- From its start on, or if it goes deaf while others begin anew, nobody acknowledges that
  incarnation, so nobody promises it anything, and nothing it says keeps a bucket in TAKING or a
  place in a plan.
- Who hears some and not others is to each as they hear it, both ways. Plans differ then, so a
  bucket may be left to one who leaves it to another: orphans. Or two ask for one: backoff.
- A bucket whose owner before does not speak to us, but to others, is in TAKING for D and two
  intervals at least: so long they need to tell.

`alive` mode (two voters) gives up 4 on purpose: a node that listened for D and heard nothing goes
on with its own promise alone. When a partition hides the two from one another both serve; when one
is dead, D covers its lease as always; when it was started anew, its kernel was cleared, and it
serves nothing until it has our word, or has heard nothing for the longest grace. The first to hear
the other stops. When only one does not hear, that one goes on and the other does not: it hears that
somebody speaks. `pair` says why never both do. If that is an incarnation that never proved itself,
it may be recordings too. Who sends these again can so keep the survivor of two from serving alone,
but not with those of an incarnation that this node knew, and with each of the others once, for as
long as they were recorded and for a grace that they announce: where it cannot be known whether
another serves, nobody shall.
"""
