/*
 * Connections and their deadlines. libmicrohttpd's own time-out sees inactivity alone, so a client
 * that sends a byte now and then would hold a connection for ever. Here each connection is in one
 * phase with one absolute deadline; phases with the same allowance form a queue ordered by deadline.
 * Loop thread only.
 */
#ifndef LT_SERVER_CONN_H
#define LT_SERVER_CONN_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct srv;
struct srv_call;
struct srv_route;
struct lt_map;

/* X(name, what passes its deadline) */
#define SRV_CONN_PHASES(X)                                                                         \
	X(IDLE, "waiting for a request")                                                           \
	X(HEADER, "sending a request's header")                                                    \
	X(BODY, "sending a request's body")                                                        \
	X(WORK, "request at work")                                                                 \
	X(REPLY, "reading an answer")

enum srv_conn_phase {
#define X(name, text) SRV_CONN_##name,
	SRV_CONN_PHASES(X)
#undef X
		SRV_CONN_PHASE_COUNT
};

/* What the request that a connection carries now is up to (http.c). */
enum srv_exchange_state {
	SRV_EXCHANGE_NONE,
	SRV_EXCHANGE_BODY,    /* taking the body */
	SRV_EXCHANGE_DISCARD, /* the answer is known to be a fault; the body is read and dropped */
	SRV_EXCHANGE_CALL,    /* a completion is at work */
	SRV_EXCHANGE_REPLIED, /* an answer is queued with libmicrohttpd */
};

/* One connection. Lives from accept to libmicrohttpd's close notice. */
struct srv_conn {
	struct srv *srv;
	struct MHD_Connection *mhd;
	int fd; /* libmicrohttpd's */
	enum srv_conn_phase phase;
	uint64_t deadline_ns; /* 0: none */
	struct srv_conn *prev, *next;
	unsigned char ip[16]; /* key of the count by address */
	unsigned char ip_len; /* 0: a Unix socket */
	bool used;	      /* a first request has begun */
	bool linger;	      /* closing with input unread: see linger.h */
	bool expired;	      /* its deadline passed, it is being shut down */

	/* the request it carries */
	enum srv_exchange_state exchange;
	const struct srv_route *route;
	int fault;  /* LT_E* of the answer that DISCARD leads to */
	int status; /* sent or queued; 0: none yet */
	uint32_t tenant;
	uint64_t start_ns;
	uint64_t discarded;
	struct srv_call *call;
};

struct srv_conns {
	struct srv_conn *head[SRV_CONN_PHASE_COUNT], *tail[SRV_CONN_PHASE_COUNT];
	uint64_t allowed_ns[SRV_CONN_PHASE_COUNT]; /* 0: no deadline */
	size_t count;
	struct lt_map *by_ip; /* address -> how many */
};

/* LT_ENOMEM. */
int srv_conns_init(struct srv *s);
void srv_conns_fini(struct srv *s);

/* Counts a connection that was just accepted in, or says that there are too many (of this address):
 * then false and the caller closes it. */
bool srv_conns_admit(struct srv *s, const struct sockaddr *addr, socklen_t len,
		     struct srv_conn **out);
void srv_conn_close(struct srv_conn *c);

/* Enters a phase; its deadline starts now. Entering the same phase again starts it again. */
void srv_conn_enter(struct srv_conn *c, enum srv_conn_phase phase);

/* Shuts connections down whose deadline has passed. */
void srv_conns_expire(struct srv *s);

/* Ends a connection from outside libmicrohttpd, which notices at its next turn. */
void srv_conn_abort(struct srv_conn *c);

/* Writes a whole prebuilt error answer past libmicrohttpd, for faults in the middle of a request,
 * where it takes none. No-op with TLS. The caller closes the connection. */
void srv_conn_raw_fault(struct srv_conn *c, int code);

#endif
