/*
 * Listening sockets: from server.listen, or handed over by systemd. Loop thread only.
 */
#ifndef LT_SERVER_LISTEN_H
#define LT_SERVER_LISTEN_H

#include <stdbool.h>

#include "base/error.h"

struct srv;

/* Opens them all, starts to accept, and writes server.port-file. LT_EINVAL (an address that cannot
 * be read), LT_EIO (it cannot be bound). */
int srv_listen_open(struct srv *s, struct lt_err *err);
/* Accepts no more; Unix sockets' paths are removed. */
void srv_listen_stop(struct srv *s);
void srv_listen_close(struct srv *s);

/* Checks server.listen without opening anything. */
int srv_listen_check(const char *list, struct lt_err *err);

#endif
