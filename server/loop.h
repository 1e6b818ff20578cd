/*
 * The loop thread: libuv drives libmicrohttpd's epoll descriptor, timers, signals and the
 * scheduler's wake-ups.
 */
#ifndef LT_SERVER_LOOP_H
#define LT_SERVER_LOOP_H

#include "base/error.h"

struct srv;

/* Opens loop, sockets and HTTP, and starts to listen. */
int srv_loop_open(struct srv *s, struct lt_err *err);

/* Runs until srv_loop_stop. */
void srv_loop_run(struct srv *s);

/* Closes every handle; srv_loop_run returns once they are. Idempotent. */
void srv_loop_stop(struct srv *s);

/* After a failed srv_loop_open or start: closes the handles that were opened, however many. */
void srv_loop_abandon(struct srv *s);

/* Releases what srv_loop_open made, after srv_loop_run or srv_loop_abandon. */
void srv_loop_close(struct srv *s);

/* Lets libmicrohttpd work: after connections were resumed or added. Does nothing when called from
 * inside one of its callbacks. */
void srv_loop_run_http(struct srv *s);

/* There is something with a deadline: makes the tick go. */
void srv_loop_tick_start(struct srv *s);

#endif
