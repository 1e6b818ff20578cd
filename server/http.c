/*
 * The life of one request inside libmicrohttpd.
 *
 * Special complication: in the middle of a body libmicrohttpd takes no answer. A fault that shows in
 * the header (wrong route, method, type, key, length) is therefore remembered and the body read and
 * dropped, so that the connection can go on; a body announced as too long is answered at once and
 * the connection closed with lingering; one that turns out too long while it comes (chunked) gets
 * its answer past libmicrohttpd.
 */
#include "server/http.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "server/call.h"
#include "server/linger.h"
#include "server/reply.h"
#include "server/routes.h"
#include "server/srv.h"

#define DISCARD_AT_ONCE	   (1u << 20) /* a longer body of a faulty request is not even read */
#define PEM_LIMIT	   (1u << 20)
#define POOL_MIN	   32768u
#define CONTENT_LENGTH_MAX UINT64_C(1) << 62

static const char *header(struct srv_conn *c, const char *name)
{
	return MHD_lookup_connection_value(c->mhd, MHD_HEADER_KIND, name);
}

/* --- the start: what the header alone can say ---------------------------------------------------- */

static bool is_json(const char *type)
{
	size_t n = type ? strcspn(type, "; \t") : 0;

	return n == strlen("application/json") && strncasecmp(type, "application/json", n) == 0;
}

static bool authorised(struct srv_conn *c)
{
	const char *value = header(c, MHD_HTTP_HEADER_AUTHORIZATION);

	if (!c->srv->keys)
		return true;
	if (!value || strncasecmp(value, "Bearer ", 7) != 0)
		return false;
	value += 7;
	value += strspn(value, " ");
	return srv_keys_find(c->srv->keys, value, &c->tenant);
}

/* A request that only asks for the allowed methods is answered whatever the route. */
static bool is_options(const char *method)
{
	return strcmp(method, MHD_HTTP_METHOD_OPTIONS) == 0;
}

static bool method_allowed(const struct srv_route *r, const char *method)
{
	if (strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0)
		return r->methods & SRV_GET;
	if (strcmp(method, MHD_HTTP_METHOD_POST) == 0)
		return r->methods & SRV_POST;
	return is_options(method);
}

/* 0, or the LT_E* that the header deserves. `length` is the announced body, 0 if none is. */
static int check_header(struct srv_conn *c, const char *method, uint64_t length)
{
	const struct srv *s = c->srv;
	const struct srv_route *r = c->route;
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);

	if (info && info->header_size > (size_t)s->params.server_max_header)
		return LT_EHEADERS;
	if (r->id == SRV_ROUTE_other)
		return LT_ENOENT;
	if (!method_allowed(r, method))
		return LT_EMETHOD;
	if (is_options(method))
		return 0;
	if (r->guarded && !authorised(c))
		return LT_EAUTH;
	if (!r->body)
		return 0;
	if (length > (uint64_t)s->params.server_max_body)
		return LT_ETOOBIG;
	if (!is_json(header(c, MHD_HTTP_HEADER_CONTENT_TYPE)))
		return LT_EMEDIATYPE;
	if (s->phase != SRV_READY)
		return LT_EUNAVAILABLE;
	if (s->n_calls >= (uint32_t)s->params.server_max_streams)
		return LT_EFULL;
	return 0;
}

static uint64_t announced_length(struct srv_conn *c)
{
	const char *text = header(c, MHD_HTTP_HEADER_CONTENT_LENGTH);
	unsigned long long n = text ? strtoull(text, NULL, 10) : 0;

	return n > CONTENT_LENGTH_MAX ? CONTENT_LENGTH_MAX : n;
}

static enum MHD_Result begin(struct srv_conn *c, const char *path, const char *method)
{
	bool get = strcmp(method, MHD_HTTP_METHOD_GET) == 0;
	uint64_t length = get ? 0 : announced_length(c);

	c->route = srv_route_find(path);
	c->exchange = SRV_EXCHANGE_BODY;
	c->start_ns = c->srv->now_ns;
	c->status = 0;
	c->discarded = 0;
	c->tenant = 0;
	c->fault = check_header(c, method, length);
	srv_conn_enter(c, get ? SRV_CONN_WORK : SRV_CONN_BODY);
	if (!c->fault && c->route->body && !is_options(method))
		c->fault = srv_call_open(c, (size_t)length);
	if (c->fault) {
		c->exchange = SRV_EXCHANGE_DISCARD;
		if (length > DISCARD_AT_ONCE || length > (uint64_t)c->srv->params.server_max_body) {
			c->linger = true;
			return srv_reply_error(c, c->fault);
		}
	}
	return MHD_YES;
}

/* --- the body ------------------------------------------------------------------------------------ */

static enum MHD_Result take_body(struct srv_conn *c, const char *data, size_t *size)
{
	size_t n = *size;

	*size = 0;
	if (c->exchange == SRV_EXCHANGE_BODY && c->call) {
		int rc = srv_call_body(c->call, data, n);
		if (rc == 0)
			return MHD_YES;
		c->fault = rc;
		c->exchange = SRV_EXCHANGE_DISCARD;
		srv_call_drop(c);
	}
	/* Whatever is not wanted: a body of a GET, the rest after a fault. */
	c->discarded += n;
	if (c->discarded <= DISCARD_AT_ONCE)
		return MHD_YES;
	c->linger = true;
	srv_conn_raw_fault(c, LT_ETOOBIG);
	return MHD_NO;
}

/* The request is complete, or a suspended connection goes on. */
static enum MHD_Result answer(struct srv_conn *c, const char *path, const char *method)
{
	switch (c->exchange) {
	case SRV_EXCHANGE_BODY:
		srv_conn_enter(c, SRV_CONN_WORK);
		if (is_options(method))
			return srv_route_options(c);
		return c->route->answer(c, path);
	case SRV_EXCHANGE_DISCARD: return srv_reply_error(c, c->fault);
	case SRV_EXCHANGE_CALL: return srv_call_answer(c->call);
	case SRV_EXCHANGE_NONE:
	case SRV_EXCHANGE_REPLIED: break;
	}
	return MHD_YES;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *mhd, const char *path,
				  const char *method, const char *version, const char *data,
				  size_t *size, void **state)
{
	struct srv_conn *c = *state;

	(void)version;
	((struct srv *)arg)->mhd_events++;
	if (!c) {
		const union MHD_ConnectionInfo *info =
			MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
		c = info->socket_context;
		*state = c;
		return begin(c, path, method);
	}
	if (*size)
		return take_body(c, data, size);
	return answer(c, path, method);
}

/* --- the end ------------------------------------------------------------------------------------- */

static void log_access(const struct srv_conn *c, int status, uint64_t ns)
{
	enum lt_log_level level = c->call ? LT_LOG_INFO : LT_LOG_DEBUG;
	char tokens[96] = "";

	if (lt_log_get() < level)
		return;
	if (c->call)
		srv_call_describe(c->call, tokens, sizeof(tokens));
	lt_log(level, "access %s %d %.1f ms%s", c->route->label, status, (double)ns / 1e6, tokens);
}

static void on_completed(void *arg, struct MHD_Connection *mhd, void **state,
			 enum MHD_RequestTerminationCode why)
{
	struct srv_conn *c = *state;
	struct srv *s = arg;
	uint64_t ns;
	int status;

	(void)mhd;
	s->mhd_events++;
	if (!c) {
		/* libmicrohttpd refused the header by itself. */
		srv_metrics_request(&s->metrics, SRV_ROUTE_other, MHD_HTTP_BAD_REQUEST);
		return;
	}
	status = c->status;
	/* A client that went away before its answer was complete: nginx's 499. */
	if (!status || (why != MHD_REQUEST_TERMINATED_COMPLETED_OK && status < 400))
		status = lt_error_status(LT_ECANCELLED);
	ns = s->now_ns - c->start_ns;
	log_access(c, status, ns);
	srv_metrics_request(&s->metrics, c->route->id, status);
	if (c->call) {
		srv_hist_add(&s->metrics.request_seconds, (double)ns / 1e9);
		srv_call_drop(c);
	}
	c->exchange = SRV_EXCHANGE_NONE;
	*state = NULL;
	srv_conn_enter(c, SRV_CONN_IDLE);
}

/* The request line is there: from now on the header's deadline counts. */
static void *on_request_line(void *arg, const char *uri, struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct srv_conn *c = info->socket_context;

	(void)arg;
	(void)uri;
	/* The first request's clock has been running since accept. */
	if (c->used)
		srv_conn_enter(c, SRV_CONN_HEADER);
	c->used = true;
	return NULL;
}

static struct srv_conn *adding; /* between srv_http_add and its notice */

static void on_connection(void *arg, struct MHD_Connection *mhd, void **context,
			  enum MHD_ConnectionNotificationCode what)
{
	struct srv_conn *c = *context;

	((struct srv *)arg)->mhd_events++;
	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		*context = adding;
		adding->mhd = mhd;
		adding = NULL;
		return;
	}
	if (c->linger)
		srv_linger(c->srv, c->fd);
	srv_conn_close(c);
	*context = NULL;
}

void srv_http_add(struct srv *s, int fd, const struct sockaddr *addr, unsigned int addr_len)
{
	struct srv_conn *c;

	if (!srv_conns_admit(s, addr, addr_len, &c)) {
		s->metrics.refused++;
		close(fd);
		return;
	}
	s->metrics.accepted++;
	c->fd = fd;
	adding = c;
	if (MHD_add_connection(s->mhd, fd, addr, addr_len) == MHD_NO && adding) {
		adding = NULL;
		srv_conn_close(c);
	}
}

/* --- start and stop ------------------------------------------------------------------------------ */

static void on_log(void *arg, const char *fmt, va_list ap)
{
	char text[512];
	int n;

	(void)arg;
	if (lt_log_get() < LT_LOG_DEBUG)
		return;
	n = vsnprintf(text, sizeof(text), fmt, ap);
	if (n > 0 && (size_t)n < sizeof(text) && text[n - 1] == '\n')
		text[n - 1] = '\0';
	lt_log(LT_LOG_DEBUG, "http: %s", text);
}

/* Reads certificate and key into *cert and *key. */
static int read_pem(const struct srv_params *p, char **cert, char **key, struct lt_err *err)
{
	size_t n;
	int rc;

	if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES)
		return lt_fail(err, LT_EUNSUPPORTED, "this libmicrohttpd was built without TLS");
	rc = lt_read_file(p->tls_cert, PEM_LIMIT, cert, &n, err);
	if (rc == 0)
		rc = lt_read_file(p->tls_key, PEM_LIMIT, key, &n, err);
	if (rc < 0)
		return lt_fail_in(err, rc, "TLS");
	return 0;
}

int srv_http_open(struct srv *s, struct lt_err *err)
{
	unsigned int flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET |
			     MHD_USE_ERROR_LOG;
	size_t pool = (size_t)s->params.server_max_header * 2;
	struct MHD_OptionItem tls[3] = {{MHD_OPTION_END, 0, NULL}};
	char *cert = NULL, *key = NULL;
	int rc = 0;

	if (*s->params.tls_cert) {
		rc = read_pem(&s->params, &cert, &key, err);
		flags |= MHD_USE_TLS;
		tls[0] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, cert};
		tls[1] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, key};
		tls[2] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
	} else {
		/* A fresh connection has mostly sent its request already: read at once. */
		flags |= MHD_USE_TURBO;
	}
	if (rc == 0) {
		s->mhd = MHD_start_daemon(
			flags, 0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_log,
			NULL, MHD_OPTION_CONNECTION_MEMORY_LIMIT, pool < POOL_MIN ? POOL_MIN : pool,
			MHD_OPTION_CONNECTION_LIMIT,
			(unsigned int)s->params.server_max_connections + 1,
			MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_NOTIFY_CONNECTION,
			on_connection, s, MHD_OPTION_URI_LOG_CALLBACK, on_request_line, NULL,
			MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
		if (!s->mhd)
			rc = lt_fail(err, LT_EIO, "libmicrohttpd would not start%s",
				     cert ? ": are tls.cert and tls.key a matching pair in PEM?"
					  : "");
	}
	free(cert);
	if (key)
		lt_wipe(key, strlen(key));
	free(key);
	return rc;
}

void srv_http_close(struct srv *s)
{
	if (s->mhd)
		MHD_stop_daemon(s->mhd);
	s->mhd = NULL;
}
