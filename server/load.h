/*
 * Loading the model on a worker thread, while the loop answers /health. Loop thread only.
 */
#ifndef LT_SERVER_LOAD_H
#define LT_SERVER_LOAD_H

#include "base/error.h"

struct srv;

/* Starts to load. When it is done the phase becomes READY, or, on a failure, the loop stops and
 * s->failed is set. */
int srv_load_start(struct srv *s, struct lt_err *err);

#endif
