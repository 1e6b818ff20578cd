/*
 * The table of routes, and the answers that need no completion. Loop thread only.
 */
#ifndef LT_SERVER_ROUTES_H
#define LT_SERVER_ROUTES_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>

struct srv_conn;

enum srv_method { SRV_GET = 1, SRV_POST = 2 };

/* X(id, path, methods, guarded: needs a key, body: JSON is expected) ; a path that ends in a slash
 * stands for everything below it. The id is the label in metrics and logs. */
#define SRV_ROUTES(X)                                                                              \
	X(health, "/health", SRV_GET, false, false)                                                \
	X(ready, "/ready", SRV_GET, false, false)                                                  \
	X(metrics, "/metrics", SRV_GET, false, false)                                              \
	X(models, "/v1/models", SRV_GET, true, false)                                              \
	X(model, "/v1/models/", SRV_GET, true, false)                                              \
	X(chat, "/v1/chat/completions", SRV_POST, true, true)                                      \
	X(completions, "/v1/completions", SRV_POST, true, true)                                    \
	X(other, "", 0, false, false)

enum srv_route_id {
#define X(id, path, methods, guarded, body) SRV_ROUTE_##id,
	SRV_ROUTES(X)
#undef X
		SRV_ROUTE_COUNT
};

struct srv_route {
	enum srv_route_id id;
	const char *label, *path;
	size_t path_len;
	unsigned int methods; /* of enum srv_method */
	bool guarded, body;
	/* Answers a request that has come in whole (and, for GET, had no faults). */
	enum MHD_Result (*answer)(struct srv_conn *c, const char *path);
};

/* Never NULL: the route "other" stands for unknown paths. */
const struct srv_route *srv_route_find(const char *path);
const struct srv_route *srv_route_at(enum srv_route_id id);

/* The methods of a route for an Allow header: "GET, HEAD, OPTIONS". */
void srv_route_allow(const struct srv_route *r, char *dst, size_t size);

/* OPTIONS: allowed methods, and what a browser asks before it calls across origins. */
enum MHD_Result srv_route_options(struct srv_conn *c);

#endif
