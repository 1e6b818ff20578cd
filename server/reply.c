/*
 * Answers. libmicrohttpd counts references of a response, so a prebuilt one is queued by many
 * connections at once.
 */
#include "server/reply.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "server/routes.h"
#include "server/srv.h"

#define JSON "application/json"

void srv_reply_headers(const struct srv *s, struct MHD_Response *r, const char *type)
{
	const char *origin = s->params.server_cors_origin;

	if (type)
		MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (*origin) {
		MHD_add_response_header(r, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_ORIGIN, origin);
		if (strcmp(origin, "*") != 0)
			MHD_add_response_header(r, MHD_HTTP_HEADER_VARY, "Origin");
	}
}

static struct MHD_Response *constant(const struct srv *s, const char *text)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(
		strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);

	if (r)
		srv_reply_headers(s, r, JSON);
	return r;
}

int srv_replies_open(struct srv *s, struct lt_err *err)
{
	struct srv_replies *rs = lt_alloc(1, sizeof(*rs));

	s->replies = rs;
	if (rs) {
		rs->health = constant(s, "{\"status\":\"ok\"}\n");
		rs->ready = constant(s, "{\"status\":\"ready\"}\n");
	}
	if (!rs || !rs->health || !rs->ready)
		return lt_fail(err, LT_ENOMEM, "out of memory");
	return 0;
}

void srv_replies_close(struct srv *s)
{
	struct srv_replies *rs = s->replies;

	if (!rs)
		return;
	if (rs->health)
		MHD_destroy_response(rs->health);
	if (rs->ready)
		MHD_destroy_response(rs->ready);
	free(rs);
	s->replies = NULL;
}

enum MHD_Result srv_reply(struct srv_conn *c, unsigned int status, struct MHD_Response *r)
{
	c->status = (int)status;
	c->exchange = SRV_EXCHANGE_REPLIED;
	srv_conn_enter(c, SRV_CONN_REPLY);
	return MHD_queue_response(c->mhd, status, r);
}

/* Makes a response of body's bytes; NULL without memory. */
static struct MHD_Response *take(const struct srv *s, const char *type, struct lt_buf *body)
{
	struct MHD_Response *r = NULL;
	size_t n = 0;
	char *data;

	if (body->failed) {
		lt_buf_fini(body);
		return NULL;
	}
	data = lt_buf_take(body, &n);
	if (!data)
		return NULL;
	r = MHD_create_response_from_buffer(n, data, MHD_RESPMEM_MUST_FREE);
	if (!r) {
		free(data);
		return NULL;
	}
	srv_reply_headers(s, r, type);
	return r;
}

enum MHD_Result srv_reply_body(struct srv_conn *c, unsigned int status, const char *type,
			       struct lt_buf *body)
{
	struct MHD_Response *r = take(c->srv, type, body);
	enum MHD_Result rc;

	if (!r)
		return srv_reply_error(c, LT_ENOMEM);
	rc = srv_reply(c, status, r);
	MHD_destroy_response(r);
	return rc;
}

enum MHD_Result srv_reply_fault(struct srv_conn *c, const struct api_fault *f)
{
	struct lt_buf body = LT_BUF_INIT;
	struct MHD_Response *r;
	enum MHD_Result rc;
	char allow[64];
	int status = api_fault_status(f);

	api_fault_body(&body, f);
	lt_buf_addc(&body, '\n');
	r = take(c->srv, JSON, &body);
	if (!r)
		return MHD_NO; /* no memory for an answer: libmicrohttpd closes the connection */
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED && c->route) {
		srv_route_allow(c->route, allow, sizeof(allow));
		MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, allow);
	}
	if (status == MHD_HTTP_UNAUTHORIZED)
		MHD_add_response_header(r, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
	if (status == MHD_HTTP_TOO_MANY_REQUESTS)
		MHD_add_response_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
	if (status == MHD_HTTP_SERVICE_UNAVAILABLE)
		MHD_add_response_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "5");
	rc = srv_reply(c, (unsigned int)status, r);
	MHD_destroy_response(r);
	return rc;
}

enum MHD_Result srv_reply_error(struct srv_conn *c, int code)
{
	const struct srv_params *p = &c->srv->params;
	struct api_fault f = {0};
	char allow[64];

	switch (code) {
	case LT_ENOENT:
		api_fault_set(&f, code, "unknown_url", NULL,
			      "there is nothing at this address; try /v1/chat/completions, "
			      "/v1/completions, /v1/models, /health, /ready or /metrics");
		break;
	case LT_EMETHOD:
		srv_route_allow(c->route, allow, sizeof(allow));
		api_fault_set(&f, code, "method_not_allowed", NULL,
			      "this address does not take that method; allowed: %s", allow);
		break;
	case LT_EAUTH:
		api_fault_set(&f, code, "invalid_api_key", NULL,
			      "an API key is needed, as \"Authorization: Bearer KEY\", and the one "
			      "given, if any, is not known");
		break;
	case LT_ETOOBIG:
		api_fault_set(&f, code, "request_too_large", NULL,
			      "the body has more than %lld bytes, which is the limit",
			      (long long)p->server_max_body);
		break;
	case LT_EHEADERS:
		api_fault_set(&f, code, "headers_too_large", NULL,
			      "the request line and header fields have more than %lld bytes, which "
			      "is the limit",
			      (long long)p->server_max_header);
		break;
	case LT_EMEDIATYPE:
		api_fault_set(&f, code, "unsupported_media_type", NULL,
			      "the body must be JSON, sent as \"Content-Type: application/json\"");
		break;
	case LT_EUNAVAILABLE:
		api_fault_set(&f, code, NULL, NULL, "%s",
			      c->srv->phase == SRV_LOADING
				      ? "the model is being loaded; try again in a moment"
				      : "the server is shutting down");
		break;
	case LT_EFULL:
		api_fault_set(
			&f, code, NULL, NULL,
			"%lld requests are at work, which is the limit; try again in a moment",
			(long long)p->server_max_streams);
		break;
	default: api_fault_set(&f, code, NULL, NULL, "%s", lt_error_text(code)); break;
	}
	return srv_reply_fault(c, &f);
}
