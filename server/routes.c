/*
 * Routes and their short answers: health, readiness, metrics, models.
 */
#include "server/routes.h"

#include <stdio.h>
#include <string.h>

#include "api/response.h"
#include "base/error.h"
#include "server/call.h"
#include "server/model.h"
#include "server/reply.h"
#include "server/srv.h"

static enum MHD_Result answer_health(struct srv_conn *c, const char *path)
{
	(void)path;
	return srv_reply(c, MHD_HTTP_OK, c->srv->replies->health);
}

static enum MHD_Result answer_ready(struct srv_conn *c, const char *path)
{
	(void)path;
	if (c->srv->phase != SRV_READY)
		return srv_reply_error(c, LT_EUNAVAILABLE);
	return srv_reply(c, MHD_HTTP_OK, c->srv->replies->ready);
}

static enum MHD_Result answer_metrics(struct srv_conn *c, const char *path)
{
	struct lt_buf body = LT_BUF_INIT;

	(void)path;
	srv_metrics_write(c->srv, &body);
	return srv_reply_body(c, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", &body);
}

static enum MHD_Result answer_models(struct srv_conn *c, const char *path)
{
	struct lt_buf body = LT_BUF_INIT;

	(void)path;
	if (!c->srv->model)
		return srv_reply_error(c, LT_EUNAVAILABLE);
	api_models_body(&c->srv->model->shown, 1, &body);
	return srv_reply_body(c, MHD_HTTP_OK, "application/json", &body);
}

static enum MHD_Result answer_model(struct srv_conn *c, const char *path)
{
	const char *name = path + strlen("/v1/models/");
	struct lt_buf body = LT_BUF_INIT;
	struct api_fault f = {0};

	if (!c->srv->model)
		return srv_reply_error(c, LT_EUNAVAILABLE);
	if (strcmp(name, c->srv->model->name) != 0) {
		api_fault_set(&f, LT_ENOENT, "model_not_found", "model",
			      "the model \"%.100s\" is not served here; there is \"%s\"", name,
			      c->srv->model->name);
		return srv_reply_fault(c, &f);
	}
	api_model_body(&c->srv->model->shown, &body);
	return srv_reply_body(c, MHD_HTTP_OK, "application/json", &body);
}

static enum MHD_Result answer_chat(struct srv_conn *c, const char *path)
{
	(void)path;
	return srv_call_start(c);
}

static enum MHD_Result answer_completions(struct srv_conn *c, const char *path)
{
	(void)path;
	return srv_call_start(c);
}

static enum MHD_Result answer_other(struct srv_conn *c, const char *path)
{
	(void)path;
	return srv_reply_error(c, LT_ENOENT);
}

static const struct srv_route routes[] = {
#define X(id, path, methods, guarded, body)                                                        \
	{SRV_ROUTE_##id, #id, path, sizeof(path) - 1, methods, guarded, body, answer_##id},
	SRV_ROUTES(X)
#undef X
};

const struct srv_route *srv_route_at(enum srv_route_id id)
{
	return &routes[id];
}

const struct srv_route *srv_route_find(const char *path)
{
	size_t n = strlen(path);

	for (size_t i = 0; i < SRV_ROUTE_other; i++) {
		const struct srv_route *r = &routes[i];
		bool below = r->path[r->path_len - 1] == '/';

		if ((below ? n > r->path_len : n == r->path_len) &&
		    memcmp(path, r->path, r->path_len) == 0)
			return r;
	}
	return &routes[SRV_ROUTE_other];
}

void srv_route_allow(const struct srv_route *r, char *dst, size_t size)
{
	snprintf(dst, size, "%s%sOPTIONS", r->methods & SRV_GET ? "GET, HEAD, " : "",
		 r->methods & SRV_POST ? "POST, " : "");
}

enum MHD_Result srv_route_options(struct srv_conn *c)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	enum MHD_Result rc;
	char allow[64];

	if (!r)
		return MHD_NO;
	srv_route_allow(c->route, allow, sizeof(allow));
	srv_reply_headers(c->srv, r, NULL);
	MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, allow);
	if (*c->srv->params.server_cors_origin) {
		MHD_add_response_header(r, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_METHODS, allow);
		MHD_add_response_header(r, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_HEADERS,
					"Authorization, Content-Type");
		MHD_add_response_header(r, MHD_HTTP_HEADER_ACCESS_CONTROL_MAX_AGE, "3600");
	}
	rc = srv_reply(c, MHD_HTTP_NO_CONTENT, r);
	MHD_destroy_response(r);
	return rc;
}
