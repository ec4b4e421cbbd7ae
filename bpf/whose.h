/* SPDX-License-Identifier: GPL-2.0-only */
/* Whose a TCP connection is: ours, or another host's that has, or had, its bucket. */
#ifndef CI_WHOSE_H
#define CI_WHOSE_H

#include "packet6.h"
#include "socket.h"

CI_INLINE struct ci_ends ci_ends(const struct ci_packet *packet)
{
	struct ci_ends ends = {
		.source_port_be = packet->source_port_be,
		.destination_port_be = packet->destination_port_be,
		.version = packet->version,
	};

	__builtin_memcpy(ends.source_be, packet->source_be, sizeof(ends.source_be));
	__builtin_memcpy(ends.destination_be, packet->destination_be, sizeof(ends.destination_be));
	return ends;
}

/*
 * A SYN, and what became of it, says whose all is that follows between its ends. Where it was
 * left to another host only a socket that is here already could mistake it, for none comes
 * into being without a SYN that was accepted: so a flood of SYNs takes no room.
 *
 * That holds for a bucket of which this host has nothing, too: it may have had it before, and
 * may take it again. Not without a lease: who moves buckets by commands has them all or not.
 */
CI_INLINE void ci_note_syn(void *ctx, const struct ci_packet *packet, int reason, int leased)
{
	struct ci_ends ends = ci_ends(packet);
	__u32 whose = CI_OURS;

	switch (reason) {
	case CI_ACCEPT_OWNED:
		if (ci_whose(&ends))
			ci_forget_whose(&ends);
		return;
	case CI_DROP_NOT_OWNED:
		if (!leased)
			return;
		/* fall through */
	case CI_DROP_DRAINING:
	case CI_DROP_EXPIRED:
		if (!ci_socket_state(ctx, packet)) {
			ci_forget_own(&ends);
			return;
		}
		whose = CI_THEIRS;
		break;
	case CI_ACCEPT_TAKING:
		break;
	default:
		return;
	}
	ci_note_whose(&ends, whose);
}

/*
 * Is it for a socket here to answer a packet of TCP, no SYN, while another host has connections
 * of the bucket too?
 *
 * A socket may be older than the connection that its ends have now: its client closed it, or
 * died, and used the port again, and another host accepted the SYN. We saw that SYN as well, so
 * such a socket answers nothing any more.
 *
 * TIME_WAIT sockets are mostly so, and we may have missed the SYN. (The state is also that of
 * FIN_WAIT2 when nobody here has the socket open.) All that the client of the old connection
 * still needs is an answer to its FIN. All else is of a new connection, or needs none: it is
 * left alone, and so is the FIN that comes after it. A second answer is left for the FIN of
 * a connection of which this host missed all that came before.
 *
 * Of the host that takes a bucket, TIME_WAIT sockets from before do not even see a FIN: while
 * others had the bucket its link may have been down, and it saw nothing of what happened.
 *
 * A connection whose SYN was answered with a cookie has no socket yet. Who takes the bucket
 * accepted that SYN, and whoever drains saw it too: none of its sockets answers any more. That
 * note may be of an earlier time, and a SYN have been missed since; but then the client
 * acknowledges what another host sent, and no cookie of ours. Who drains has no such note: where
 * the client sent its SYN again, another host may have answered that.
 */
CI_INLINE int ci_socket_answers(void *ctx, const struct ci_packet *packet, int taking)
{
	struct ci_ends ends = ci_ends(packet);
	__u32 whose = ci_whose(&ends);
	__u32 state;

	if (whose == CI_THEIRS)
		return 0;
	state = ci_socket_state(ctx, packet);
	if (!state)
		return taking && whose == CI_OURS && ci_acknowledges_cookie(ctx, packet);
	if (state != BPF_TCP_TIME_WAIT)
		return 1;
	if (packet->fin)
		return !taking || whose == CI_OURS;
	if (!taking && !packet->quoted)
		ci_note_whose(&ends, CI_THEIRS);
	return 0;
}

#endif
