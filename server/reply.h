/*
 * Answers: queueing them with libmicrohttpd, the prebuilt short ones, and OpenAI's error objects for
 * faults that the server itself finds. Loop thread only.
 */
#ifndef LT_SERVER_REPLY_H
#define LT_SERVER_REPLY_H

#include <microhttpd.h>

#include "api/error.h"
#include "base/buf.h"
#include "base/error.h"

struct srv;
struct srv_conn;

/* Answers that never change, made once. */
struct srv_replies {
	struct MHD_Response *health;
	struct MHD_Response *ready;
};

int srv_replies_open(struct srv *s, struct lt_err *err);
void srv_replies_close(struct srv *s);

/* Queues r, which stays the caller's, and notes the status. */
enum MHD_Result srv_reply(struct srv_conn *c, unsigned int status, struct MHD_Response *r);

/* Queues the bytes of `body`, which is emptied. A failed body becomes error 500. */
enum MHD_Result srv_reply_body(struct srv_conn *c, unsigned int status, const char *type,
			       struct lt_buf *body);

/* Queues an error object with the headers that belong to its status (Allow, Retry-After,
 * WWW-Authenticate). */
enum MHD_Result srv_reply_fault(struct srv_conn *c, const struct api_fault *f);

/* The same for a fault that the server found before the request was parsed: it writes the message
 * for `code` out of route and parameters. */
enum MHD_Result srv_reply_error(struct srv_conn *c, int code);

/* Headers that every answer gets. */
void srv_reply_headers(const struct srv *s, struct MHD_Response *r, const char *type);

#endif
