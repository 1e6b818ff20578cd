/*
 * Signals, and how the daemon ends.
 *
 * The first SIGTERM or SIGINT drains: /ready says no, new completions get 503, those at work may
 * finish within server.drain-timeout, then the exit status is 0. What is not finished by then gets
 * an error (and still the status is 0: the operator chose the time). A second signal leaves at once
 * with status 1. While the model is being loaded there is nothing to drain. SIGHUP reads API keys
 * and log level again. Loop thread only.
 */
#ifndef LT_SERVER_DRAIN_H
#define LT_SERVER_DRAIN_H

#include "base/error.h"

struct srv;

int srv_drain_open(struct srv *s, struct lt_err *err);
void srv_drain_close(struct srv *s);

/* A request ended: when draining and it was the last, the loop stops. */
void srv_drain_check(struct srv *s);

#endif
