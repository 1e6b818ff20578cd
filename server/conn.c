/*
 * Connections: admission, phases, deadlines, and the ways to end one from outside.
 */
#include "server/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "api/error.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "server/srv.h"

static const char *const phase_text[] = {
#define X(name, text) text,
	SRV_CONN_PHASES(X)
#undef X
};

int srv_conns_init(struct srv *s)
{
	const struct srv_params *p = &s->params;
	struct srv_conns *cs = &s->conns;

	cs->allowed_ns[SRV_CONN_IDLE] = (uint64_t)p->server_idle_timeout * LT_NS_PER_MS;
	cs->allowed_ns[SRV_CONN_HEADER] = (uint64_t)p->server_header_timeout * LT_NS_PER_MS;
	cs->allowed_ns[SRV_CONN_BODY] = (uint64_t)p->server_body_timeout * LT_NS_PER_MS;
	cs->allowed_ns[SRV_CONN_WORK] = 0; /* the request's own deadline */
	cs->allowed_ns[SRV_CONN_REPLY] = (uint64_t)p->server_stall_timeout * LT_NS_PER_MS;
	cs->by_ip = lt_map_open(64);
	return cs->by_ip ? 0 : LT_ENOMEM;
}

void srv_conns_fini(struct srv *s)
{
	lt_map_close(s->conns.by_ip);
	s->conns.by_ip = NULL;
}

static void unlink_conn(struct srv_conns *cs, struct srv_conn *c)
{
	if (c->prev)
		c->prev->next = c->next;
	else
		cs->head[c->phase] = c->next;
	if (c->next)
		c->next->prev = c->prev;
	else
		cs->tail[c->phase] = c->prev;
	c->prev = c->next = NULL;
}

static void append_conn(struct srv_conns *cs, struct srv_conn *c)
{
	c->prev = cs->tail[c->phase];
	if (c->prev)
		c->prev->next = c;
	else
		cs->head[c->phase] = c;
	cs->tail[c->phase] = c;
}

static void ip_key(struct srv_conn *c, const struct sockaddr *addr, socklen_t len)
{
	if (addr->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
		memcpy(c->ip, &((const struct sockaddr_in *)(const void *)addr)->sin_addr, 4);
		c->ip_len = 4;
	} else if (addr->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
		/* A client owns a /64 at least: count those. */
		memcpy(c->ip, &((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr, 8);
		c->ip_len = 8;
	}
}

bool srv_conns_admit(struct srv *s, const struct sockaddr *addr, socklen_t len,
		     struct srv_conn **out)
{
	struct srv_conns *cs = &s->conns;
	uint64_t limit = (uint64_t)s->params.server_max_connections_per_ip, same = 0;
	struct srv_conn *c;

	if (cs->count >= (size_t)s->params.server_max_connections)
		return false;
	c = lt_alloc(1, sizeof(*c));
	if (!c)
		return false;
	ip_key(c, addr, len);
	if (!limit)
		c->ip_len = 0;
	if (c->ip_len) {
		lt_map_get(cs->by_ip, c->ip, c->ip_len, &same);
		if (same >= limit || lt_map_put(cs->by_ip, c->ip, c->ip_len, same + 1) < 0) {
			free(c);
			return false;
		}
	}
	c->srv = s;
	c->fd = -1;
	c->phase = SRV_CONN_HEADER;
	c->deadline_ns = s->now_ns + cs->allowed_ns[c->phase];
	append_conn(cs, c);
	cs->count++;
	*out = c;
	return true;
}

void srv_conn_close(struct srv_conn *c)
{
	struct srv_conns *cs = &c->srv->conns;
	uint64_t same = 0;

	LT_ASSERT(!c->call);
	if (c->ip_len && lt_map_get(cs->by_ip, c->ip, c->ip_len, &same)) {
		if (same > 1)
			lt_map_put(cs->by_ip, c->ip, c->ip_len, same - 1);
		else
			lt_map_del(cs->by_ip, c->ip, c->ip_len);
	}
	unlink_conn(cs, c);
	cs->count--;
	free(c);
}

void srv_conn_enter(struct srv_conn *c, enum srv_conn_phase phase)
{
	struct srv_conns *cs = &c->srv->conns;
	uint64_t allowed = cs->allowed_ns[phase];

	unlink_conn(cs, c);
	c->phase = phase;
	c->deadline_ns = allowed ? c->srv->now_ns + allowed : 0;
	append_conn(cs, c);
}

static void expire(struct srv_conn *c)
{
	struct srv *s = c->srv;

	lt_log(LT_LOG_DEBUG, "connection closed: deadline passed while %s", phase_text[c->phase]);
	s->metrics.expired[c->phase]++;
	if (c->phase == SRV_CONN_BODY || (c->phase == SRV_CONN_HEADER && c->used))
		srv_conn_raw_fault(c, LT_ETIMEOUT);
	c->expired = true;
	srv_conn_abort(c);
}

void srv_conns_expire(struct srv *s)
{
	for (int phase = 0; phase < SRV_CONN_PHASE_COUNT; phase++) {
		struct srv_conn *c = s->conns.head[phase], *next;

		if (!s->conns.allowed_ns[phase])
			continue;
		/* One that is being shut down already stays in its queue until libmicrohttpd
		 * lets go of it. */
		for (; c && c->deadline_ns <= s->now_ns; c = next) {
			next = c->next;
			if (!c->expired)
				expire(c);
		}
	}
}

void srv_conn_abort(struct srv_conn *c)
{
	/* Input and output end; libmicrohttpd gets an event for the descriptor and closes it. */
	shutdown(c->fd, SHUT_RDWR);
}

void srv_conn_raw_fault(struct srv_conn *c, int code)
{
	static const struct {
		int code;
		const char *line;
	} lines[] = {{LT_ETIMEOUT, "408 Request Timeout"}, {LT_ETOOBIG, "413 Content Too Large"}};
	struct lt_buf body = LT_BUF_INIT, all = LT_BUF_INIT;
	const char *line = NULL;

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		if (lines[i].code == code)
			line = lines[i].line;
	}
	LT_ASSERT(line);
	if (*c->srv->params.tls_cert)
		return;
	c->status = lt_error_status(code);
	api_error_body(&body, code, NULL, NULL, NULL);
	lt_buf_addf(&all,
		    "HTTP/1.1 %s\r\nContent-Type: application/json\r\nConnection: close\r\n"
		    "Content-Length: %zu\r\n\r\n",
		    line, body.len);
	lt_buf_add(&all, body.data, body.len);
	/* A client that doesn't even take this much has lost its claim to a reason. */
	if (!body.failed && !all.failed &&
	    send(c->fd, all.data, all.len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		c->status = 0;
	lt_buf_fini(&body);
	lt_buf_fini(&all);
}
