/*
 * What /metrics shows. Plain counters, written by the loop thread alone; the scheduler's and the
 * engine's own figures are fetched when the page is made.
 */
#ifndef LT_SERVER_METRICS_H
#define LT_SERVER_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "server/conn.h"
#include "server/routes.h"

struct srv;

/* Statuses with a counter of their own, ascending; any other counts as the last. */
#define SRV_STATUSES(X)                                                                            \
	X(200)                                                                                     \
	X(204)                                                                                     \
	X(400)                                                                                     \
	X(401) X(403) X(404) X(405) X(408) X(413) X(415) X(429) X(431) X(499) X(501) X(503) X(500)
enum {
#define X(status) SRV_STATUS_##status,
	SRV_STATUSES(X)
#undef X
		SRV_STATUS_COUNT
};

#define SRV_HIST_MAX 20

/* A histogram of seconds. `bounds` is static; counts[n_bounds] are those above the last bound. */
struct srv_hist {
	const double *bounds;
	size_t n_bounds;
	uint64_t counts[SRV_HIST_MAX + 1];
	uint64_t total;
	double sum;
};

struct srv_metrics {
	uint64_t requests[SRV_ROUTE_COUNT][SRV_STATUS_COUNT];
	struct srv_hist first_token_seconds; /* header read to first token */
	struct srv_hist token_gap_seconds;   /* between tokens of one choice */
	struct srv_hist request_seconds;     /* completions, header read to answer sent */
	struct srv_hist prepare_seconds;     /* parse, template, tokenise, wait for a worker */
	uint64_t accepted, refused, accept_failures;
	uint64_t expired[SRV_CONN_PHASE_COUNT];
	uint64_t disconnects; /* clients that went away before their answer was complete */
	uint64_t overflows;   /* streams cancelled because the client read too slowly */
	uint64_t frames;      /* writes of streams handed to libmicrohttpd */
	uint64_t reloads;     /* SIGHUPs that were taken */
	int64_t start_s;      /* of the process, since 1970 */
};

void srv_metrics_init(struct srv_metrics *m);
void srv_metrics_request(struct srv_metrics *m, enum srv_route_id route, int status);
void srv_hist_add(struct srv_hist *h, double seconds);

/* Appends the page in Prometheus' text format. */
void srv_metrics_write(struct srv *s, struct lt_buf *out);

#endif
