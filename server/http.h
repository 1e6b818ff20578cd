/*
 * From libmicrohttpd's callbacks to routes: the start of a request, its body, its end. Loop thread
 * only.
 */
#ifndef LT_SERVER_HTTP_H
#define LT_SERVER_HTTP_H

#include "base/error.h"

struct srv;

/* Starts libmicrohttpd (without a listening socket: listen.c accepts). LT_EIO, LT_EINVAL (TLS files),
 * LT_ENOENT. */
int srv_http_open(struct srv *s, struct lt_err *err);
/* Every connection must have ended or be idle; suspended ones must not exist. */
void srv_http_close(struct srv *s);

/* The socket a connection was accepted from goes to libmicrohttpd, which owns it from then on, also
 * on failure. */
struct sockaddr;
void srv_http_add(struct srv *s, int fd, const struct sockaddr *addr, unsigned int addr_len);

#endif
